"""Ray as far as `ray_call` and `worker_pool` use it: actors on a clock of their own, so that hours take no time."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import ActorUnavailableError, GetTimeoutError

UNAVAILABLE_S = 1.0
"""Seconds after which Ray refuses a call to an actor that is starting."""


class Call:
    """A call's object reference."""

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None

    def settle(self, value: Any) -> None:
        if not self.done:
            self.done, self.value = True, value


class FakeRay:
    """The clock, and the functions of the module `ray`."""

    def __init__(self) -> None:
        self.now = 100.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Does something when the clock gets there."""
        heapq.heappush(self._events, (time, next(self._numbers), action))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self._until(self.now + seconds, lambda: False)

    def wait(
        self, calls: Sequence[Call], num_returns: int = 1, timeout: float | None = None
    ) -> tuple[list[Call], list[Call]]:
        assert timeout is not None, "waits without an end"
        assert timeout >= 0
        assert len(set(calls)) == len(calls) > 0
        self._until(self.now + timeout, lambda: sum(call.done for call in calls) >= num_returns)
        ready = [call for call in calls if call.done][:num_returns]
        return ready, [call for call in calls if call not in ready]

    def get(self, call: Call, timeout: float | None = None) -> Any:
        assert timeout is not None, "waits without an end"
        if not call.done:
            raise GetTimeoutError
        if isinstance(call.value, BaseException):
            raise call.value
        return call.value

    def kill(self, actor: "FakeActor", no_restart: bool = True) -> None:
        actor.die()

    def available_resources(self) -> dict[str, float]:
        return {}

    def _until(self, end: float, enough: Callable[[], bool]) -> None:
        while not enough() and self._events and self._events[0][0] <= end:
            time, _, action = heapq.heappop(self._events)
            self.now = max(self.now, time)
            action()
        if not enough():
            self.now = end


class FakeActor:
    """An actor: it takes its calls one after another, may die or hang, and is then started again by Ray."""

    def __init__(self, ray: FakeRay, start_s: float, client_s: float) -> None:
        """
        Args:
            start_s: seconds of a start.
            client_s: seconds for a client's answer.
        """
        self._ray, self._start_s, self._client_s = ray, start_s, client_s
        self._queue: list[tuple[Call, float, Callable[[], Any]]] = []
        self._life = 0
        self._up = self._busy = self.hangs = False
        self.round = -1
        """Its position."""
        self.deaths = 0
        self.answered: list[int] = []
        self.deadly: set[int] = set()
        """Clients whose batch kills it."""
        ray.at(ray.now + start_s, self._started(self._life))

    def _started(self, life: int) -> Callable[[], None]:
        def action() -> None:
            if life == self._life:
                self._up = True
                self._next()

        return action

    def die(self) -> None:
        """Its process ends; open calls fail."""
        self._life += 1
        self.deaths += 1
        self._up = self._busy = self.hangs = False
        self.round = -1
        for call, _, _ in self._queue:
            call.settle(ActorUnavailableError("it died", None))
        self._queue.clear()
        self._ray.at(self._ray.now + self._start_s, self._started(self._life))

    def hang(self) -> None:
        """Its process is stopped; calls stay open."""
        self.hangs = self._up

    def wake(self) -> None:
        """Its process goes on."""
        self.hangs = False
        self._finish(self._life)

    def _call(self, seconds: float, action: Callable[[], Any]) -> Call:
        call = Call()
        if self._life and not self._up:  # at its first start Ray lets calls wait
            self._ray.at(
                self._ray.now + UNAVAILABLE_S, lambda: call.settle(ActorUnavailableError("it is starting", None))
            )
            return call
        self._queue.append((call, seconds, action))
        self._next()
        return call

    def _next(self) -> None:
        if self._up and not self._busy and self._queue:
            self._busy = True
            life = self._life
            self._ray.at(self._ray.now + self._queue[0][1], lambda: self._finish(life))

    def _finish(self, life: int) -> None:
        if life != self._life or self.hangs:
            return
        call, _, action = self._queue[0]
        try:
            value = action()
        except BaseException as error:
            value = error
        if life != self._life:  # the action has killed it
            return
        self._queue.pop(0)
        self._busy = False
        call.settle(value)
        self._next()

    def send(self, round: int) -> None:
        """Clients and commits up to a round."""
        self._call(0.5, lambda: setattr(self, "round", max(self.round, round)))

    def apply(self, round: int) -> None:
        """The commit of one round, if it has those before."""
        self._call(0.0, lambda: setattr(self, "round", round) if self.round == round - 1 else None)

    @property
    def position(self) -> "_Method":
        return _Method(lambda: self._call(0.001, lambda: self.round))

    @property
    def answer(self) -> "_Method":
        def ask(plan: bytes, clients: list[int], seconds: float) -> Call:
            taken = clients[: max(1, int(seconds / self._client_s))]
            return self._call(len(taken) * self._client_s, lambda: self._answers(plan, taken))

        return _Method(ask)

    def _answers(self, plan: bytes, clients: list[int]) -> dict[int, bytes]:
        if self.deadly.intersection(clients):
            self.die()
        self.answered += clients
        return {client: plan + bytes([client]) for client in clients}


class _Method:
    def __init__(self, remote: Callable[..., Call]) -> None:
        self.remote = remote
