"""Sends one plan to clients on Ray actors and collects their answers. All waiting is in one loop with a deadline.

If an actor dies, Ray restarts it. It is then asked for its position, gets the commits that it missed, and is asked
again.
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
"""Seconds after which an actor returns the answers that it has so far. A short time keeps few slow clients late; a
longer one needs fewer calls for quick clients."""


@dataclass
class WorkerPool:
    """The actors of a run, each known by its number."""

    handles: Sequence[Any]
    """Ray's handle of each actor."""
    home: Mapping[int, int]
    """Client -> the actor that serves it."""
    bring_up: Callable[[int, int], None]
    """(actor, its last round): sends an actor that has started its clients, and the commits that it lacks."""
    deadline_s: float
    """Seconds for all answers to a plan."""
    retries: int
    """How often a client whose actor was lost is asked again."""
    returning: dict[int, float] = field(default_factory=dict)
    """Lost actors that have not reported their position again -> when they were lost (time.monotonic)."""


class RoundCall:
    """The calls for one plan: which are open, and which clients must be asked again."""

    def __init__(self, pool: WorkerPool, plan: bytes, clients: Sequence[int]) -> None:
        """The time until the deadline begins now."""
        self._pool = pool
        self._plan = plan
        self._end = time.monotonic() + pool.deadline_s
        self._answers: dict[int, Answer] = {}
        self._lost = dict.fromkeys(clients, 0)
        """Client -> how often its actor was lost before the client had answered."""
        self._calls: dict[Any, tuple[int, list[int]]] = {}
        """Open calls: object reference -> (actor, asked clients). Without clients the call asks for the position."""
        self._to_ask_again: dict[int, list[int]] = {}
        """Lost actor -> its clients without an answer."""
        self.retried = 0
        """How often a client was asked again."""

    def run(self) -> dict[int, Answer]:
        """One answer per client. Clients without an answer at the deadline are late, and their actors are restarted."""
        by_actor: dict[int, list[int]] = {}
        for client in self._lost:
            by_actor.setdefault(self._pool.home[client], []).append(client)
        for actor, clients in by_actor.items():
            if actor in self._pool.returning:
                self._await_return(actor, clients)
            else:
                self._ask(actor, clients)
        while self._calls:
            ready, _ = ray.wait(list(self._calls), timeout=max(0.0, self._end - time.monotonic()))
            if not ready:
                self._give_up()
                break
            for call in ready:
                if call in self._calls:
                    self._receive(call, *self._calls.pop(call))
        return self._answers

    def _ask(self, actor: int, clients: list[int]) -> None:
        if clients:
            call = self._pool.handles[actor].answer.remote(self._plan, clients, _SLICE_S)
            self._calls[call] = (actor, clients)

    def _receive(self, call: Any, actor: int, clients: list[int]) -> None:
        try:
            value: Any = ray.get(call)
        except RayTaskError as error:
            cause = error.cause
            if not clients:
                self._fail_all(actor, [], f"its actor cannot be restarted: {cause}")
            elif isinstance(cause, StaleReplica):
                self._lose(actor, clients)
            elif len(clients) > 1:  # ask one by one, to find the client at fault
                for client in clients:
                    self._ask(actor, [client])
            else:
                reason = f"{type(cause).__name__}: {cause}"
                self._answers[clients[0]] = Failure("failed", reason, isinstance(cause, Diverged))
        except ActorDiedError as error:
            # The number of restarts is not limited, so this means that the actor cannot be built again.
            self._fail_all(actor, clients, f"its actor cannot be restarted: {str(error).strip().splitlines()[0]}")
        except RayError:
            self._lose(actor, clients)
        else:
            if clients:
                self._answers.update(value)
                self._ask(actor, [client for client in clients if client not in value])
            else:
                self._pool.returning.pop(actor, None)
                self._pool.bring_up(actor, value)
                self._ask(actor, self._to_ask_again.pop(actor))

    def _lose(self, actor: int, clients: list[int]) -> None:
        """An actor died, is restarting, or lacks commits: closes its calls, and asks for its position."""
        unanswered = self._take_back(actor, clients)
        if not clients:
            time.sleep(min(_BACKOFF_S, max(0.0, self._end - time.monotonic())))
        else:
            self.retried += len(unanswered)
            for client in unanswered:
                self._lost[client] += 1
        again = []
        for client in unanswered:
            if self._lost[client] > self._pool.retries:
                reason = f"its actor was lost {self._lost[client]} times, federation.retries={self._pool.retries}"
                self._answers[client] = Failure("failed", reason)
            else:
                again.append(client)
        self._await_return(actor, again)

    def _await_return(self, actor: int, clients: list[int]) -> None:
        """Asks a lost actor for its position. When it answers, `clients` are asked again."""
        waiting = self._to_ask_again.setdefault(actor, [])
        waiting.extend(clients)
        self._pool.returning.setdefault(actor, time.monotonic())
        if waiting and all(other != actor for other, _ in self._calls.values()):
            self._calls[self._pool.handles[actor].position.remote()] = (actor, [])

    def _take_back(self, actor: int, clients: list[int]) -> list[int]:
        """Closes all calls to an actor. Returns their clients together with `clients`, sorted."""
        calls = [call for call, (other, _) in self._calls.items() if other == actor]
        return sorted([*clients, *(client for call in calls for client in self._calls.pop(call)[1])])

    def _fail_all(self, actor: int, clients: list[int], reason: str) -> None:
        for client in {*self._take_back(actor, clients), *self._to_ask_again.pop(actor, [])}:
            self._answers[client] = Failure("failed", reason)

    def _give_up(self) -> None:
        """The deadline has passed: late clients get a `Failure`, and their actors are restarted, whether hung or slow.

        An actor that is restarting already is left alone. Otherwise it could never start if a start takes longer than
        the deadline.
        """
        pool, now = self._pool, time.monotonic()
        late = [client for client in self._lost if client not in self._answers]
        for client in late:
            self._answers[client] = Failure("late", f"no report within federation.deadline_s={pool.deadline_s:g} s")
        for actor in {pool.home[client] for client in late}:
            if now - pool.returning.get(actor, -START_S) >= START_S:
                ray.kill(pool.handles[actor], no_restart=False)
                pool.returning[actor] = now
