"""The actors of a run: which of them are at work, and how one that was lost comes back.

Ray starts a lost actor again. Until it has its clients and all commits of the ledger it is away: it is asked for its
position, is sent what it lacks, and is asked again. Rounds go on meanwhile.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from zorba_ray.errors import ClusterError, ZorbaError

START_S = 300.0
"""Seconds for an actor to load the model, and for each part of the commits that it lacks."""
READY_S = 60.0
"""Seconds to fetch an answer that Ray says is there."""
_BACKOFF_S = 0.2


@dataclass
class _Away:
    """An actor that is on its way to the ledger's end."""

    since: float
    """When it was lost, or last got on (time.monotonic)."""
    missed: bool = False
    """Whether it has missed a deadline: from then on rounds do not wait for it to the end."""
    call: Any = None
    """The open call for its position."""
    again: float = 0.0
    """When it may be asked for its position (time.monotonic)."""
    position: int = -2
    """The last one that it gave."""
    goal: int | None = None
    """The position at which it is at work again: it was sent all up to there, and later commits are sent to all."""


class WorkerPool:
    """The actors, each known by its number. At first all are away."""

    def __init__(
        self,
        handles: Sequence[Any],
        home: Mapping[int, int],
        shared: bool,
        bring_up: Callable[[int, int], int | None],
    ) -> None:
        """
        Args:
            handles: Ray's handle of each actor.
            home: client -> the actor that serves it.
            shared: whether any actor can serve any client (federation.mode=packed).
            bring_up: (actor, its position) -> the ledger's last round, up to which it has or was sent all now. None: it
                was sent a part.
        """
        self.handles, self.home, self.shared = handles, home, shared
        self._bring_up = bring_up
        self._away = {actor: _Away(time.monotonic()) for actor in range(len(handles))}
        self.broken: dict[int, BaseException] = {}
        """Actors that cannot be started again -> the reason."""

    def at_work(self) -> list[int]:
        """The actors that can be asked."""
        return [actor for actor in range(len(self.handles)) if actor not in self._away and actor not in self.broken]

    def serving(self, client: int) -> list[int]:
        """The actors that may answer for a client, at work or away."""
        actors = range(len(self.handles)) if self.shared else [self.home[client]]
        return [actor for actor in actors if actor not in self.broken]

    def missed(self, actor: int) -> bool:
        """Whether an actor is away and has missed a deadline."""
        return actor in self._away and self._away[actor].missed

    def lose(self, actor: int) -> None:
        """An actor died, or lacks commits."""
        self._away.setdefault(actor, _Away(time.monotonic()))

    def give_up(self, actor: int, error: BaseException) -> None:
        """An actor cannot be started again."""
        self._away.pop(actor, None)
        self.broken[actor] = error

    def late(self, actor: int) -> None:
        """An actor has missed a deadline. If it was at work, it is started again, whether it hangs or is slow."""
        if actor not in self._away:
            self._restart(actor)
        self._away[actor].missed = True

    def pass_by(self, actor: int) -> None:
        """A round has ended without an actor that is at work, and may be slow or hang. Later ones do not wait for it
        until it gives its position."""
        self._away.setdefault(actor, _Away(time.monotonic(), missed=True))

    def _restart(self, actor: int) -> None:
        ray.kill(self.handles[actor], no_restart=False)
        self._away[actor] = _Away(time.monotonic(), missed=True)

    def calls(self) -> list[Any]:
        """Open calls for positions. Actors that are away and were not asked yet are asked now."""
        now = time.monotonic()
        for actor, away in list(self._away.items()):
            # One that is starting is left alone for a while: else it could never start.
            if away.missed and now - away.since >= START_S:
                self._restart(actor)
            elif away.call is None and now >= away.again:
                away.call = self.handles[actor].position.remote()
        return [away.call for away in self._away.values() if away.call is not None]

    def next_call(self) -> float:
        """When `calls` will ask again (time.monotonic); infinite if nothing is due."""
        return min((away.again for away in self._away.values() if away.call is None), default=float("inf"))

    def receive(self, calls: Iterable[Any]) -> None:
        """Takes the answers to calls for positions; other calls are ignored.

        Raises:
            Exception: what `bring_up` raises.
        """
        asked = {away.call: actor for actor, away in self._away.items() if away.call is not None}
        for call in calls:
            if call in asked:
                self._receive(asked[call], call)

    def _receive(self, actor: int, call: Any) -> None:
        away = self._away[actor]
        away.call = None
        try:
            position: Any = ray.get(call, timeout=READY_S)
        except (RayTaskError, ActorDiedError) as error:
            # The number of restarts is not limited, so a death means that the actor cannot be built again.
            self.give_up(actor, error)
        except RayError:
            away.again = time.monotonic() + _BACKOFF_S
        else:
            if away.goal is None or position < away.goal:
                away.goal = self._bring_up(actor, position)
            if away.goal is not None and position >= away.goal:
                del self._away[actor]
            elif position != away.position:
                away.since, away.position = time.monotonic(), position
            else:  # what it was sent did not arrive
                away.again = time.monotonic() + _BACKOFF_S

    def start(self, names: Sequence[str]) -> None:
        """Waits until all actors are at work. This is before the first round, so that no deadline counts it.

        Args:
            names: of the actors, for messages.

        Raises:
            ClusterError: an actor cannot be placed or started, or does not get on for START_S.
            ZorbaError: what the actor raised.
        """
        while self._away:
            now = time.monotonic()
            late = [names[actor] for actor, away in self._away.items() if now - away.since >= START_S]
            if late:
                raise ClusterError(
                    f"{', '.join(late)} did not start within {START_S:.0f} s; free resources of the cluster: "
                    f"{ray.available_resources()}. Start it with more resources, or lower federation.workers"
                )
            calls = self.calls()
            self.receive(ray.wait(calls, timeout=_BACKOFF_S)[0] if calls else [])
            if not calls:
                time.sleep(_BACKOFF_S)
            for actor, error in self.broken.items():
                raise _start_error(names[actor], error) from error


def first_line(error: BaseException) -> str:
    """What an actor raised, or the first line of what Ray says of its death."""
    cause = getattr(error, "cause", None) or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]


def _start_error(name: str, error: BaseException) -> ZorbaError:
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, ZorbaError):
        return cause
    # Ray reports the death of an actor with its traceback, whose last line has the reason.
    reason = (str(cause).strip() or type(cause).__name__).splitlines()[-1]
    return ClusterError(f"actor {name} could not start: {reason}")
