"""What the algorithm hands out: who activates what, and the steps that led there with their bounds.

Source: docs/algorithm.md section 7 (ours).
"""

from dataclasses import dataclass
from typing import Literal

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation.problem import Objective

StepStatus = Literal["optimal", "time_limit", "greedy"]


@dataclass(frozen=True)
class StepResult:
    """One minimisation of the algorithm, with what was proven about it."""

    name: str
    """Which step of docs/algorithm.md section 7: best_X, nadir_X, constrained_X or polished_X of an objective X."""
    objective: Objective
    """What was minimised."""
    constraint: str
    """The caps on the other objectives, as text; "none" when there was none."""
    value: float
    """The objective at the point kept, evaluated from the matrix: f1 (normalised), bytes, a share of a budget, or
    seconds."""
    bound: float
    """Proven lower bound of the objective, in the same unit."""
    gap: float
    """(value − bound) / value, never negative; of "vram", the denominator is the value less what the bases take without
    any active block (`objectives.relative_gap`)."""
    seconds: float
    """Wall time of the step."""
    status: StepStatus
    """optimal: proven within the gap asked for. time_limit: the solver stopped earlier. greedy: so far the solver gave
    no point in time and the heuristic's was kept."""


@dataclass(frozen=True)
class Allocation:
    """The blocks each client activates, what they cost, and how far from optimal they can be."""

    active: ActiveSets
    """a_{n,b} of N clients and L blocks."""
    steps: tuple[StepResult, ...]
    """The minimisations in the order in which they were done."""
    f1: float
    """Convergence surrogate, 1 for "everybody active"; smaller is faster."""
    f2_bytes: int
    """Bytes of all clients together."""
    worst_share: float
    """The largest share of its budget that a client uses, 0 to 1."""
    gap: float
    """The largest gap over the steps."""
    solver: str
    """Such as "highs 1.15.1 via pyomo 6.10.1"; "greedy" when the time limit gave no feasible point, "greedy, proven by
    counting" when none was needed."""
