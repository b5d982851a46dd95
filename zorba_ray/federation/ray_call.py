"""Sends one plan to clients on Ray actors and collects their answers. All waiting is in one loop with a deadline.

A client's answer is the same on every actor. So if an actor is lost, its clients are asked on the others, one by one,
where these may serve them (federation.mode=packed). Else the round waits until the actor is back.
"""

import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from zorba_ray.errors import Diverged, StaleReplica
from zorba_ray.federation.backend import Answer, Failure
from zorba_ray.federation.round import needed_reports
from zorba_ray.federation.worker_pool import READY_S, WorkerPool, first_line

_SLICE_S = 0.25
"""Seconds after which an actor returns the answers that it has so far. A short time keeps few slow clients late; a
longer one needs fewer calls for quick clients."""
_GRACE = 1.0
"""How much longer a round waits for actors that have missed a deadline before, as a share of the time that the others
took."""


class RoundCall:
    """The calls for one plan: which are open, and which clients must be asked again."""

    def __init__(
        self,
        pool: WorkerPool,
        plan: bytes,
        clients: Sequence[int],
        deadline_s: float,
        quorum: float,
        retries: int,
        enough: int | None = None,
    ) -> None:
        """The time until the deadline begins now.

        Args:
            deadline_s, quorum, retries: as in the settings of the federation.
            enough: as of `Backend.ask`.
        """
        self._first = frozenset(clients[:enough])
        """The clients whose reports are used if they come."""
        self._pool, self._plan = pool, plan
        self._deadline_s, self._retries = deadline_s, retries
        self._needed = needed_reports(len(self._first), quorum)
        self._began = self._last = time.monotonic()
        self._answers: dict[int, Answer] = {}
        self._lost = dict.fromkeys(clients, 0)
        """Client -> how often its actor was lost while it was asked."""
        self._calls: dict[Any, tuple[int, list[int]]] = {}
        """Open calls: object reference -> (actor, asked clients). An actor takes its calls in this order."""
        self._waiting = list(clients)
        """Clients without an answer that no call asks."""
        self.retried = 0
        """How often a client was asked again."""

    def run(self) -> dict[int, Answer]:
        """One answer per client. Clients without an answer at the end of the round are late."""
        pool = self._pool
        for actor in pool.at_work():
            self._ask(actor, [client for client in self._waiting if pool.home[client] == actor])
        self._hand_out()
        while len(self._answers) < len(self._lost):
            positions = pool.calls()
            calls, now, end = [*self._calls, *positions], time.monotonic(), self._end()
            seconds = max(0.0, min(end, pool.next_call()) - now)
            ready = ray.wait(calls, timeout=seconds)[0] if calls else []
            if not calls:
                time.sleep(seconds)
            for call in ready:
                if call in self._calls:
                    self._receive(call)
            pool.receive(ready)
            if not ready and now >= end:
                self._give_up()
            self._hand_out()
        return self._answers

    def _end(self) -> float:
        """When the round ends as it stands (time.monotonic): at the deadline; or soon after the last answer, if only
        actors are left that have missed a deadline, or if spare clients have reported in place of those left."""
        left = [actor for actor, _ in self._calls.values()]
        left += [actor for client in self._waiting for actor in self._pool.serving(client)]
        reports = {client for client, answer in self._answers.items() if isinstance(answer, bytes)}
        if reports >= self._first:
            return self._last
        deadline, replaced = self._began + self._deadline_s, len(reports) >= len(self._first)
        if replaced or (len(reports) >= self._needed and all(self._pool.missed(actor) for actor in left)):
            return min(deadline, self._last + _GRACE * (self._last - self._began))
        return deadline

    def _hand_out(self) -> None:
        """Gives clients that wait to actors that have nothing to do."""
        for client in list(self._waiting):
            if not self._pool.serving(client):
                reason = self._pool.broken[self._pool.home[client]]
                self._answer(client, Failure("failed", f"its actor cannot be restarted: {first_line(reason)}"))
        busy = {actor for actor, _ in self._calls.values()}
        for actor in self._pool.at_work():
            client = next((client for client in self._waiting if actor in self._pool.serving(client)), None)
            if actor not in busy and client is not None:
                self._ask(actor, [client])

    def _ask(self, actor: int, clients: list[int]) -> None:
        if clients:
            self._waiting = [client for client in self._waiting if client not in clients]
            self._calls[self._pool.handles[actor].answer.remote(self._plan, clients, _SLICE_S)] = (actor, clients)

    def _answer(self, client: int, answer: Answer) -> None:
        self._answers[client] = answer
        self._waiting = [other for other in self._waiting if other != client]
        self._last = time.monotonic()

    def _receive(self, call: Any) -> None:
        actor, clients = self._calls[call]
        try:
            value: Any = ray.get(call, timeout=READY_S)
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, StaleReplica):
                self._lose(actor)
                return
            del self._calls[call]
            if len(clients) > 1:  # ask one by one, to find the client at fault
                for client in clients:
                    self._ask(actor, [client])
            else:
                reason = f"{type(cause).__name__}: {cause}"
                self._answer(clients[0], Failure("failed", reason, isinstance(cause, Diverged)))
        except ActorDiedError as error:
            # The number of restarts is not limited, so this means that the actor cannot be built again.
            self._lose(actor)
            self._pool.give_up(actor, error)
        except RayError:
            self._lose(actor)
        else:
            del self._calls[call]
            for client, answer in value.items():
                self._answer(client, answer)
            self._ask(actor, [client for client in clients if client not in value])

    def _lose(self, actor: int) -> None:
        """An actor died, is restarting, or lacks commits: its clients wait for another one, or for its return."""
        self._pool.lose(actor)
        calls = [call for call, (other, _) in self._calls.items() if other == actor]
        asked = [self._calls.pop(call)[1] for call in calls]
        for client in asked[0]:  # the others had not begun
            self._lost[client] += 1
        for client in (client for clients in asked for client in clients):
            if self._lost[client] > self._retries:
                reason = f"its actor was lost {self._lost[client]} times, federation.retries={self._retries}"
                self._answer(client, Failure("failed", reason))
            else:
                self._waiting.append(client)
                self.retried += 1

    def _give_up(self) -> None:
        """The round ends: clients without an answer are late, and what they wait for is not waited for again."""
        asked = {client: actor for actor, clients in self._calls.values() for client in clients}
        reason = f"no report within federation.deadline_s={self._deadline_s:g} s"
        early = time.monotonic() < self._began + self._deadline_s
        if early:
            reason = "the others had reported, and its actor was slow, or not back since it missed a deadline"
        for client in [client for client in self._lost if client not in self._answers]:
            away = [actor for actor in self._pool.serving(client) if actor not in self._pool.at_work()]
            for actor in [asked[client]] if client in asked else away:
                if not early:
                    self._pool.late(actor)
                elif client in self._first:
                    self._pool.pass_by(actor)
            self._answer(client, Failure("late", reason))
