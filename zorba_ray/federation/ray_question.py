"""One plan put to the clients of Ray actors. All waiting is in one loop with a deadline; no bare `ray.get` of many.

An actor that died is asked for its position once Ray has restarted it, brought up, and asked again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from zorba_ray.errors import Diverged, StaleReplica
from zorba_ray.federation.backend import Answer, Failure

START_S = 300.0
"""Seconds for all actors to load the model, once."""
_BACKOFF_S = 0.2
_SLICE_S = 0.25
"""Seconds after which an actor hands over the answers it has: few calls where clients are quick, few late clients where
they are slow."""


@dataclass
class Crew:
    """The actors of a run, as questions see them."""

    handles: Sequence[Any]
    home: Mapping[int, int]
    """Client -> the place of its actor in `handles`."""
    bring_up: Callable[[int, int], None]
    """(place, position): gives an actor that has started its clients and the commits it lacks."""
    deadline_s: float
    """Seconds for all answers to a plan."""
    retries: int
    """How often a client whose actor was lost is asked again."""
    returning: dict[int, float] = field(default_factory=dict)
    """Actors that were lost and have not told their position since -> when they were lost (monotonic)."""


class Question:
    """One plan put to some clients: what is pending, who must be asked again."""

    def __init__(self, crew: Crew, plan: bytes, clients: Sequence[int]) -> None:
        """The deadline runs from here on."""
        self._crew = crew
        self._plan = plan
        self._end = time.monotonic() + crew.deadline_s
        self._answers: dict[int, Answer] = {}
        self._attempts = dict.fromkeys(clients, 0)
        self._pending: dict[Any, tuple[int, list[int]]] = {}
        """Object reference -> (actor, clients asked); no clients: the position of an actor that was lost."""
        self._wanted: dict[int, list[int]] = {}
        """Lost actor -> clients to ask again once it is back."""
        self.retried = 0

    def run(self) -> dict[int, Answer]:
        """One answer per client; those still out at the deadline are late and their actors are restarted."""
        homes: dict[int, list[int]] = {}
        for client in self._attempts:
            homes.setdefault(self._crew.home[client], []).append(client)
        for place, clients in homes.items():
            if place in self._crew.returning:
                self._await_return(place, clients)
            else:
                self._submit(place, clients)
        while self._pending:
            left = self._end - time.monotonic()
            ready, _ = ray.wait(list(self._pending), timeout=max(0.0, left))
            if not ready:
                self._give_up()
                break
            for ref in ready:
                if ref in self._pending:
                    self._receive(ref, *self._pending.pop(ref))
        return self._answers

    def _submit(self, place: int, clients: list[int]) -> None:
        if clients:
            call = self._crew.handles[place].answer.remote(self._plan, clients, _SLICE_S)
            self._pending[call] = (place, clients)

    def _receive(self, ref: Any, place: int, clients: list[int]) -> None:
        try:
            value: Any = ray.get(ref)
        except RayTaskError as error:
            if not clients:
                self._fail_all(place, [], f"its actor cannot be restarted: {error.cause}")
            elif isinstance(error.cause, StaleReplica):
                self._lose(place, clients)
            elif len(clients) > 1:  # one of them is at fault
                for client in clients:
                    self._submit(place, [client])
            else:
                cause = error.cause
                self._answers[clients[0]] = Failure(
                    "failed", f"{type(cause).__name__}: {cause}", isinstance(cause, Diverged)
                )
        except ActorDiedError as error:
            # Restarts are unlimited, so this actor cannot be built again.
            self._fail_all(place, clients, f"its actor cannot be restarted: {str(error).strip().splitlines()[0]}")
        except RayError:
            self._lose(place, clients)
        else:
            if clients:
                self._answers.update(value)
                self._submit(place, [client for client in clients if client not in value])
            else:
                self._crew.returning.pop(place, None)
                self._crew.bring_up(place, value)
                self._submit(place, self._wanted.pop(place))

    def _lose(self, place: int, clients: list[int]) -> None:
        """An actor died, is restarting, or is behind: take back what it owes, and ask where it stands."""
        owed = self._take_back(place, clients)
        if not clients:
            time.sleep(min(_BACKOFF_S, max(0.0, self._end - time.monotonic())))
        else:
            self.retried += len(owed)
            for debtor in owed:
                self._attempts[debtor] += 1
        returning = []
        for debtor in owed:
            if self._attempts[debtor] > self._crew.retries:
                reason = f"its actor was lost {self._attempts[debtor]} times, federation.retries={self._crew.retries}"
                self._answers[debtor] = Failure("failed", reason)
            else:
                returning.append(debtor)
        self._await_return(place, returning)

    def _await_return(self, place: int, clients: list[int]) -> None:
        """Asks a lost actor for its position; `clients` are asked again when it answers."""
        wanted = self._wanted.setdefault(place, [])
        wanted.extend(clients)
        asked = any(home == place for home, _ in self._pending.values())
        self._crew.returning.setdefault(place, time.monotonic())
        if wanted and not asked:
            self._pending[self._crew.handles[place].position.remote()] = (place, [])

    def _take_back(self, place: int, clients: list[int]) -> list[int]:
        """Removes everything pending on an actor; returns the clients it was to answer for, in order."""
        owed = list(clients)
        for ref, (home, others) in list(self._pending.items()):
            if home == place:
                del self._pending[ref]
                owed += others
        return sorted(owed)

    def _fail_all(self, place: int, clients: list[int], reason: str) -> None:
        for debtor in {*self._take_back(place, clients), *self._wanted.pop(place, [])}:
            self._answers[debtor] = Failure("failed", reason)

    def _give_up(self) -> None:
        """The deadline: a hung process cannot be told from a slow one, so both are restarted.

        An actor that is on its way back already is left alone, or a deadline shorter than a start would keep it away.
        """
        late = [client for client in self._attempts if client not in self._answers]
        for client in late:
            self._answers[client] = Failure("late", f"no report within federation.deadline_s={self._crew.deadline_s:g}")
        now = time.monotonic()
        for place in {self._crew.home[client] for client in late}:
            if now - self._crew.returning.get(place, -START_S) >= START_S:
                ray.kill(self._crew.handles[place], no_restart=False)
                self._crew.returning[place] = now
