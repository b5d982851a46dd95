"""The Pareto front over ε: allocations of one problem at several ε, without those that another one dominates.

At ε = 0 the first objective is best, at ε = 1 the second. Source: docs/algorithm.md section 7 (ours).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.answer import Allocation
from zorba_ray.allocation.lexicographic import allocate
from zorba_ray.allocation.problem import AllocationProblem, Objective
from zorba_ray.errors import ConfigError

# Relative difference below which two values are equal: f1 is a sum of floats.
SAME = 1e-9


@dataclass(frozen=True)
class Proven:
    """Value and proven bounds of one objective at an allocation."""

    objective: Objective
    value: float
    """At the allocation: f1 without a unit, bytes, a share of a budget, or seconds."""
    bound: float
    """Proven lower bound under the constraint of the objective's last step; −inf if nothing was proven."""
    gap: float
    """As `objectives.relative_gap`; infinite without a bound."""
    best: float
    """Proven lower bound over all allocations; −inf if nothing was proven."""


@dataclass(frozen=True)
class FrontPoint:
    """One allocation that no other dominates."""

    epsilon: float
    """The ε of the grid that gave it."""
    allocation: Allocation
    proven: tuple[Proven, ...]
    """One entry per objective, those of `order` first."""


@dataclass(frozen=True)
class Omitted:
    """An ε of the grid whose allocation is not a point of the front."""

    epsilon: float
    kept: float
    """ε of the point that equals or dominates it."""
    reason: str
    """"same point" or "dominated" (possible only within the gaps of the two solves)."""


@dataclass(frozen=True)
class Front:
    """The points, sorted by the first objective of `order`. With two objectives the first rises, the second falls."""

    points: tuple[FrontPoint, ...]
    omitted: tuple[Omitted, ...]
    solved: int
    """How many ε of the grid were solved; the others lie between two equal points."""


def pareto_front(
    problem: AllocationProblem,
    count: int,
    time_limit_s: float,
    gap: float,
    before_solve: Callable[[float], None] = lambda epsilon: None,
) -> Front:
    """The front at `count` >= 2 values of ε, evenly spread over [0, 1]; `problem.epsilon` is not used.

    The ends are solved first, then middles of intervals. If both ends of an interval are equal in all objectives, so is
    everything between them, and nothing is solved there.

    Args:
        time_limit_s, gap: for each value of ε, as in `allocate`.
        before_solve: called with each ε before it is solved.

    Raises:
        ConfigError: a count below 2; and as `allocate`.
    """
    require_count(count)
    grid = np.linspace(0.0, 1.0, count).tolist()
    answers: dict[int, Allocation] = {}
    values: dict[int, np.ndarray] = {}
    solved = 0
    # The two ends are solved first, as the intervals (0, 0) and (last, last).
    intervals = [(0, 0), (count - 1, count - 1), (0, count - 1)]
    while intervals:
        low, high = intervals.pop(0)
        middle = (low + high) // 2
        if low < middle and _covers(values[low], values[high]) and _covers(values[high], values[low]):
            between = range(low + 1, high)
            answers.update(dict.fromkeys(between, answers[low]))
            values.update(dict.fromkeys(between, values[low]))
        elif middle not in answers:
            before_solve(grid[middle])
            answers[middle] = allocate(replace(problem, epsilon=grid[middle]), time_limit_s, gap)
            active = answers[middle].active.matrix
            values[middle] = np.array([objectives.value(objective, active, problem) for objective in problem.order])
            solved += 1
            intervals += [(low, middle), (middle, high)]
    front: list[int] = []
    omitted: list[Omitted] = []
    # In this order no point can be dominated by a later one, except by rounding.
    for number in sorted(answers, key=lambda number: (*values[number].tolist(), number)):
        keeper = next((other for other in front if _covers(values[other], values[number])), None)
        if keeper is None:
            front.append(number)
            continue
        reason = "same point" if _covers(values[number], values[keeper]) else "dominated"
        omitted.append(Omitted(grid[number], grid[keeper], reason))
    points = tuple(FrontPoint(grid[number], answers[number], proven(problem, answers[number])) for number in front)
    return Front(points, tuple(sorted(omitted, key=lambda entry: entry.epsilon)), solved)


def require_count(count: int) -> None:
    """Raises ConfigError for a front of fewer than two points."""
    if count < 2:
        raise ConfigError(f"--front {count}: a front needs at least 2 points, its ends ε = 0 and ε = 1")


def proven(problem: AllocationProblem, allocation: Allocation) -> tuple[Proven, ...]:
    """Value, bounds and gap of every objective, from the steps of the allocation; objectives of `order` come first.

    `bound` is from the last step that minimised the objective, `best` from its step without a constraint. An objective
    that is not in `order` has a value only. Round time is left out if the problem has no times.
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


def _covers(point: np.ndarray, other: np.ndarray) -> bool:
    """Whether `point` is no worse than `other` in any objective, except for rounding."""
    return bool((point <= other + SAME * np.maximum(np.abs(point), np.abs(other))).all())
