"""Measures where time goes, by nested parts. Time counts for the innermost open part, so the parts add up to the whole.

Code that may be measured has a `Watch` and opens parts of it. If nothing is profiled, this costs no time and reads no
clock.
"""

import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

Path = tuple[str, ...]
"""The open parts, outermost first."""

_NOTHING = nullcontext()


@dataclass(frozen=True)
class Spent:
    """Seconds."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of all threads of the process."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


@dataclass(frozen=True)
class Reading:
    """The time of one process so far."""

    parts: Mapping[Path, Spent]
    """Path of open parts -> its time, without the parts inside it. () is the time outside of all parts."""
    laps: Mapping[int, float]
    """Number of a lap -> wall seconds."""


class Watch:
    """Measures nothing."""

    running = False

    def part(self, name: str, lap: int | None = None) -> AbstractContextManager[None]:
        """A context whose time is added to part `name`. With `lap`, its whole time is also added to this lap."""
        return _NOTHING

    def read(self) -> Reading | None:
        """The measured times; None if nothing is measured."""
        return None


class Stopwatch(Watch):
    """Measures from now on. For use in one thread."""

    running = True

    def __init__(self) -> None:
        self._parts: dict[Path, list[float]] = {}
        """Wall and CPU seconds. A list, changed in place, is quick: a part may take only a few microseconds."""
        self._laps: dict[int, float] = {}
        self._path: Path = ()
        self._mark = _now()

    @contextmanager
    def part(self, name: str, lap: int | None = None) -> Generator[None]:
        outer = self._path
        began = self._charge()
        self._path = (*outer, name)
        try:
            yield
        finally:
            ended = self._charge()
            self._path = outer
            if lap is not None:
                self._laps[lap] = self._laps.get(lap, 0.0) + ended - began

    def read(self) -> Reading:
        self._charge()
        return Reading({path: Spent(*spent) for path, spent in self._parts.items()}, dict(self._laps))

    def _charge(self) -> float:
        """Adds the time since the last call to the open part. Returns the present time."""
        wall, cpu = _now()
        spent = self._parts.setdefault(self._path, [0.0, 0.0])
        spent[0] += wall - self._mark[0]
        spent[1] += cpu - self._mark[1]
        self._mark = (wall, cpu)
        return wall


UNWATCHED = Watch()


def watch_if(profiled: bool) -> Watch:
    """A running stopwatch if `profiled`, else a watch that measures nothing."""
    return Stopwatch() if profiled else UNWATCHED


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
