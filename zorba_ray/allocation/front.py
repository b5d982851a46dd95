"""The Pareto front over ε: `allocate` at several ε of one problem, without the points that another one beats.

ε = 0 and ε = 1 are its ends: the best of the first objective, and the best of the second. Source: docs/algorithm.md
section 7 (ours).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class FrontPoint:
    """One undominated answer."""

    epsilon: float
    """The ε of the grid that gave it."""
    allocation: Allocation
    proven: tuple[Proven, ...]
    """One entry per objective, those of `order` first."""


@dataclass(frozen=True)
class Left:
    """An ε of the grid that has no point of its own."""

    epsilon: float
    kept: float
    """ε of the point that stands for it."""
    reason: str
    """"same point" or "dominated" (possible only within the gaps of the two solves)."""


@dataclass(frozen=True)
class Front:
    """Undominated points by the first objective of `order`: with two objectives it rises and the second one falls."""

    points: tuple[FrontPoint, ...]
    left: tuple[Left, ...]
    solved: int
    """How many of the grid's ε were solved; the others lie between two equal points."""


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
    answers: dict[int, Allocation] = {}
    values: dict[int, np.ndarray] = {}
    solved = 0
    # Of each interval the ends are known, or about to be: (0, 0) and (last, last) are the ends themselves.
    intervals = [(0, 0), (count - 1, count - 1), (0, count - 1)]
    while intervals:
        low, high = intervals.pop(0)
        middle = (low + high) // 2
        if low < middle and _covers(values[low], values[high]) and _covers(values[high], values[low]):
            between = range(low + 1, high)
            answers.update(dict.fromkeys(between, answers[low]))
            values.update(dict.fromkeys(between, values[low]))
        elif middle not in answers:
            told(grid[middle])
            answers[middle] = allocate(replace(problem, epsilon=grid[middle]), time_limit_s, gap)
            active = answers[middle].active.matrix
            values[middle] = np.array([objectives.value(each, active, problem) for each in problem.order])
            solved += 1
            intervals += [(low, middle), (middle, high)]
    kept: list[int] = []
    left: list[Left] = []
    # In this order nothing can be beaten by what comes after it, rounding aside.
    for number in sorted(answers, key=lambda number: (*values[number].tolist(), number)):
        keeper = next((other for other in kept if _covers(values[other], values[number])), None)
        if keeper is None:
            kept.append(number)
            continue
        reason = "same point" if _covers(values[number], values[keeper]) else "dominated"
        left.append(Left(grid[number], grid[keeper], reason))
    points = tuple(FrontPoint(grid[number], answers[number], proven(problem, answers[number])) for number in kept)
    return Front(points, tuple(sorted(left, key=lambda entry: entry.epsilon)), solved)


def require_count(count: int) -> None:
    """Raise ConfigError for a front of less than two points."""
    if count < 2:
        raise ConfigError(f"front: {count} points asked for; a front has two ends, ε = 0 and ε = 1, so 2 is the least")


def proven(problem: AllocationProblem, allocation: Allocation) -> tuple[Proven, ...]:
    """Value, bounds and gap of every objective, from the steps of the allocation: those of `order` first.

    The bound is that of the last step that minimised the objective, the best that of its step without a constraint. Of
    an objective outside of `order` only the value is known; round time is left out where the problem has no times.
    """
    objects: list[Objective] = [*problem.order, "convergence", "vram"]
    if problem.block_seconds is not None:
        objects.append("time")
    entries = []
    for objective in dict.fromkeys(objects):
        value = objectives.value(objective, allocation.active.matrix, problem)
        steps = [step for step in allocation.steps if step.objective == objective]
        bound = min(value, steps[-1].bound) if steps else float("-inf")
        best = max((min(value, step.bound) for step in steps if step.constraint == "none"), default=float("-inf"))
        gap = objectives.relative_gap(objective, value, bound, problem)
        entries.append(Proven(objective, value, bound, gap, best))
    return tuple(entries)


def _covers(one: np.ndarray, other: np.ndarray) -> bool:
    """No worse in any objective, beyond rounding."""
    return bool((one <= other + SAME * np.maximum(np.abs(one), np.abs(other))).all())
