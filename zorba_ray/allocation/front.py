"""The Pareto front over ε: `allocate` at several ε of one problem, without the points that another one beats.

ε = 0 and ε = 1 are its ends: the best of the first objective, and the best of the second. Source: algorithm.md section
7 (ours).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.answer import Allocation
from zorba_ray.allocation.lexicographic import allocate
from zorba_ray.allocation.problem import AllocationProblem, Objective
from zorba_ray.errors import ConfigError

# f1 sums floats: numbers closer than this, relative, are the same point.
SAME = 1e-9


@dataclass(frozen=True)
class Proven:
    """What is known of one objective at an allocation."""

    objective: Objective
    value: float
    """At the allocation: f1 without a unit, bytes, a share of a budget, or seconds."""
    bound: float
    """Proven: no allocation that keeps the constraint of its last step has less; −inf where nothing was proven."""
    gap: float
    """As `objectives.relative_gap`; infinite without a bound."""
    best: float
    """Proven: no allocation at all has less; −inf where nothing was proven."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: it knows no infinity, so None where there is no number."""
        numbers = {"value": self.value, "bound": self.bound, "gap": self.gap, "best": self.best}
        found = {name: float(number) if np.isfinite(number) else None for name, number in numbers.items()}
        return {"objective": self.objective, **found}


@dataclass(frozen=True, eq=False)
class FrontPoint:
    """One undominated answer."""

    epsilon: float
    """The ε of the grid that gave it."""
    allocation: Allocation
    proven: tuple[Proven, ...]
    """One entry per objective, those of `order` first."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the matrix: its ε in the settings gives it again."""
        found = self.allocation
        held = found.active.counts
        return {
            "epsilon": self.epsilon,
            "f1": found.f1,
            "f2_bytes": found.f2_bytes,
            "worst_share": found.worst_share,
            "f3_seconds": found.f3_seconds,
            "blocks_mean": float(held.mean()),
            "blocks_min": int(held.min()),
            "blocks_max": int(held.max()),
            "objectives": [entry.to_dict() for entry in self.proven],
            "gap": found.gap,
            "solver": found.solver,
            "statuses": sorted({step.status for step in found.steps}),
        }


@dataclass(frozen=True)
class Left:
    """An ε of the grid that has no point of its own."""

    epsilon: float
    kept: float
    """ε of the point that stands for it."""
    reason: str
    """"same point" or "dominated" (possible only within the gaps of the two solves)."""


@dataclass(frozen=True, eq=False)
class Front:
    """Undominated points by the first objective of `order`: with two objectives it rises and the second one falls."""

    points: tuple[FrontPoint, ...]
    left: tuple[Left, ...]
    solved: int
    """How many of the grid's ε were solved; the others lie between two equal points."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "points": [point.to_dict() for point in self.points],
            "left_out": [vars(entry).copy() for entry in self.left],
            "solved": self.solved,
        }


def pareto_front(
    problem: AllocationProblem,
    count: int,
    time_limit_s: float,
    gap: float,
    told: Callable[[float], None] = lambda epsilon: None,
) -> Front:
    """The front at `count` >= 2 values of ε, evenly spread over [0, 1]; `problem.epsilon` is not used.

    `time_limit_s` and `gap` hold for each value, as in `allocate`. The ends are solved first, then the middles: between
    two answers that are equal in all objectives lies nothing else, and nothing is solved there. `told` hears each ε
    before it is solved.

    Raises ConfigError for a count below 2, and as `allocate`.
    """
    require_count(count)
    grid = np.linspace(0.0, 1.0, count).tolist()
    found: dict[int, Allocation] = {}

    def solve(place: int) -> None:
        told(grid[place])
        found[place] = allocate(replace(problem, epsilon=grid[place]), time_limit_s, gap)

    solve(0)
    solve(count - 1)
    intervals = [(0, count - 1)]
    solved = 2
    while intervals:
        low, high = intervals.pop(0)
        middle = (low + high) // 2
        if middle == low:
            continue
        ends = [_values(problem, found[place]) for place in (low, high)]
        if _covers(*ends) and _covers(*reversed(ends)):
            found.update(dict.fromkeys(range(low + 1, high), found[low]))
            continue
        solve(middle)
        solved += 1
        intervals += [(low, middle), (middle, high)]
    points, left = _undominated(problem, [(grid[place], found[place]) for place in range(count)])
    return Front(points, left, solved)


def require_count(count: int) -> None:
    """Raise ConfigError for a front of less than two points."""
    if count < 2:
        raise ConfigError(f"front: {count} points asked for; a front has two ends, ε = 0 and ε = 1, so 2 is the least")


def proven(problem: AllocationProblem, allocation: Allocation) -> tuple[Proven, ...]:
    """Value, bounds and gap of every objective, from the steps of the allocation: those of `order` first.

    The bound is that of the last step that minimised the objective, the best that of its step without a constraint. Of
    an objective outside of `order` only the value is known; round time is left out where the problem has no times.
    """
    others: tuple[Objective, ...] = ("convergence", "vram")
    if problem.block_seconds is not None:
        others = ("convergence", "vram", "time")
    # The checker widens the names to str when it joins the two.
    shown = cast("tuple[Objective, ...]", tuple(dict.fromkeys((*problem.order, *others))))
    entries = []
    for objective in shown:
        value = objectives.value(objective, allocation.active.matrix, problem)
        steps = [step for step in allocation.steps if step.objective == objective]
        bound = min(value, steps[-1].bound) if steps else float("-inf")
        best = max((min(value, step.bound) for step in steps if step.constraint == "none"), default=float("-inf"))
        gap = objectives.relative_gap(objective, value, bound, problem)
        entries.append(Proven(objective, value, bound, gap, best))
    return tuple(entries)


def _undominated(
    problem: AllocationProblem, answers: list[tuple[float, Allocation]]
) -> tuple[tuple[FrontPoint, ...], tuple[Left, ...]]:
    values = [_values(problem, allocation) for _, allocation in answers]
    kept: list[int] = []
    left: list[Left] = []
    # In this order nothing can be beaten by what comes after it, rounding aside.
    for place in sorted(range(len(answers)), key=lambda place: (*values[place].tolist(), place)):
        keeper = next((other for other in kept if _covers(values[other], values[place])), None)
        if keeper is None:
            kept.append(place)
            continue
        reason = "same point" if _covers(values[place], values[keeper]) else "dominated"
        left.append(Left(answers[place][0], answers[keeper][0], reason))
    points = [FrontPoint(*answers[place], proven(problem, answers[place][1])) for place in kept]
    return tuple(points), tuple(sorted(left, key=lambda entry: entry.epsilon))


def _values(problem: AllocationProblem, allocation: Allocation) -> np.ndarray:
    return np.array([objectives.value(objective, allocation.active.matrix, problem) for objective in problem.order])


def _covers(one: np.ndarray, other: np.ndarray) -> bool:
    """No worse in any objective, beyond rounding."""
    return bool((one <= other + SAME * np.maximum(np.abs(one), np.abs(other))).all())
