"""The result of the allocation: the active sets, and the steps of the algorithm with their proven bounds.

Source: docs/algorithm.md section 7 (ours).
"""

from dataclasses import dataclass
from typing import Literal

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation.problem import Objective

StepStatus = Literal["optimal", "time_limit", "greedy"]


@dataclass(frozen=True)
class StepResult:
    """One minimisation of the algorithm, and what it proved."""

    name: str
    """Step of docs/algorithm.md section 7: best_X, nadir_X, constrained_X or polished_X, for an objective X."""
    objective: Objective
    """The minimised objective."""
    constraint: str
    """Upper limits (caps) of the other objectives, as text; "none" if there is none."""
    value: float
    """The objective at the best point, computed from the matrix: f1 (normalised), bytes, a share of a budget, or
    seconds."""
    bound: float
    """Proven lower bound of the objective, in the same unit."""
    gap: float
    """(value − bound) / value, never negative. For "vram" the denominator counts only the bytes above those of clients
    without active blocks (`objectives.relative_gap`)."""
    seconds: float
    """Wall time of the step."""
    status: StepStatus
    """optimal: proven within the requested gap. time_limit: the solver stopped before that. greedy: the solver has not
    found any point in time, and the point is that of the heuristic."""


@dataclass(frozen=True)
class Allocation:
    """The blocks that each client activates, their cost, and the proven distance from the optimum."""

    active: ActiveSets
    """a_{n,b} of N clients and L blocks."""
    steps: tuple[StepResult, ...]
    """The minimisations in the order in which they were done."""
    f1: float
    """Convergence surrogate; smaller is faster. It is 1 when every client activates every block."""
    f2_bytes: int
    """Bytes of all clients together."""
    worst_share: float
    """The largest share of its budget that a client uses, 0 to 1."""
    gap: float
    """The largest gap over the steps."""
    solver: str
    """As "highs 1.15.1 via pyomo 6.10.1". "greedy": the solver found no point before the time limit. "greedy, proven by
    counting": no solver was needed."""
