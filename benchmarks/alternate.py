"""Two or more pieces of work in turns within one process, so that whatever else the machine does hits all alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.rows import Row, make_row

DEVICE = "cpu, 1 thread"

Goal = tuple[str, Callable[[float], bool]]
"""How a goal reads, and whether a median meets it."""


@dataclass
class Times:
    """Seconds of the same work, turn by turn."""

    cpu: list[float] = field(default_factory=list)
    """CPU time of this process."""
    wall: list[float] = field(default_factory=list)

    def add(self, work: Callable[[], object]) -> None:
        """Does the work once and notes what it took."""
        clock = Clock()
        work()
        clock.stop(self)


class Clock:
    """Runs from its making."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self, times: Times) -> None:
        """Notes the time since the start as one turn."""
        times.cpu.append(time.process_time() - self._cpu)
        times.wall.append(time.perf_counter() - self._wall)


def alternate(works: Sequence[Callable[[], object]], turns: int) -> list[Times]:
    """Times of each work over `turns` turns; one before them is not counted (compilation, first touch of memory).

    One torch thread from here on.
    """
    torch.set_num_threads(1)
    for work in works:
        work()
    found = [Times() for _ in works]
    for _ in range(turns):
        for work, times in zip(works, found, strict=True):
            times.add(work)
    return found


def at_least(value: float, unit: str = "") -> Goal:
    return f"≥ {value:g}{unit}", lambda found: found >= value


def at_most(value: float, unit: str = "") -> Goal:
    return f"≤ {value:g}{unit}", lambda found: found <= value


def ratio_rows(name: str, over: Times, under: Times, goal: Goal | None, scale: float = 1.0) -> list[Row]:
    """`over` / `under` turn by turn, times `scale`: one row in CPU time, judged by the goal, and one in wall time."""
    cpu = [scale * a / b for a, b in zip(over.cpu, under.cpu, strict=True)]
    wall = [scale * a / b for a, b in zip(over.wall, under.wall, strict=True)]
    return [judged(f"{name} (CPU)", cpu, "×", goal), judged(f"{name} (wall)", wall, "×", None)]


def cost_row(name: str, times: Times, unit: str, goal: Goal | None, scale: float) -> Row:
    """CPU seconds times `scale`."""
    return judged(f"{name} (CPU)", [scale * value for value in times.cpu], unit, goal)


def judged(
    name: str,
    values: Sequence[float],
    unit: str,
    goal: Goal | None,
    device: str = DEVICE,
    details: Mapping[str, str] | None = None,
) -> Row:
    """A row on one CPU thread or another `device`, its median judged."""
    if goal is None:
        return make_row(name, values, unit, "none, for comparison", None, device, details)
    median = sorted(values)[len(values) // 2]
    return make_row(name, values, unit, goal[0], goal[1](median), device, details)
