"""Where time goes: at every moment one part is open, the innermost, and it is charged. So parts add up to the whole.

Code that may be measured holds a `Watch` and opens parts; where nobody profiles that takes no time and reads no clock.
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
    """What one process spent so far."""

    parts: Mapping[Path, Spent]
    """Of each path itself, without the parts inside it; () is what was spent in none."""
    laps: Mapping[int, float]
    """Wall seconds by lap."""


class Watch:
    """Measures nothing."""

    running = False

    def part(self, name: str, lap: int | None = None) -> AbstractContextManager[None]:
        """Charges what happens inside to the part; as lap `lap`, the whole of it is also added up under that number."""
        return _NOTHING

    def read(self) -> Reading | None:
        """What was measured; None where nothing is."""
        return None


class Stopwatch(Watch):
    """Measures, from now on. Of one thread: the parts that are open are its own."""

    running = True

    def __init__(self) -> None:
        self._parts: dict[Path, list[float]] = {}
        """Wall and CPU seconds, added up in place: a part may be a few microseconds long."""
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
        """Gives the open part what passed since the last call; returns the time."""
        wall, cpu = _now()
        spent = self._parts.setdefault(self._path, [0.0, 0.0])
        spent[0] += wall - self._mark[0]
        spent[1] += cpu - self._mark[1]
        self._mark = (wall, cpu)
        return wall


UNWATCHED = Watch()


def watch_if(profiled: bool) -> Watch:
    """A stopwatch that runs, or none."""
    return Stopwatch() if profiled else UNWATCHED


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
