"""What budgets an infeasible fleet would need: the cheapest raise, and one factor on all budgets.

Source: the constraints of algorithm.md section 7 (ours).
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import deal, merge
from zorba_ray.allocation.feasibility import require_places
from zorba_ray.allocation.greedy import greedy
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.allocation.repair import cheapest_repair
from zorba_ray.allocation.step import minimise
from zorba_ray.errors import AllocationInfeasible

# Seconds for the smallest factor; the cheapest raise has its own limit (repair.REPAIR_LIMIT_S).
FACTOR_LIMIT_S = 10.0


@dataclass(frozen=True, eq=False)
class WhatIf:
    """The smallest budgets that would do. Budgets of a feasible problem are returned as they are."""

    feasible: bool
    """Whether the problem has an allocation as it stands."""
    budget_bytes: np.ndarray
    """[N] int64: budgets with the least raise in bytes, summed over the clients, at which there is an allocation."""
    missing_bytes: int
    """Σ of the raises; 0 where feasible."""
    factor: float
    """The smallest factor on all budgets at once; below 1, by how much all could shrink. Round budgets up to a byte."""
    proven: bool
    """Whether both are proven to be the least; otherwise they are enough, but less might do."""


def smallest_budgets(problem: AllocationProblem) -> WhatIf:
    """The smallest budgets at which `problem` has an allocation, in bytes and as one factor. Takes up to 20 s.

    Raises AllocationInfeasible where no budget would do, because the limits on blocks per client, or the blocks that
    clients must and must not hold, leave too few places.
    The factor is the least worst share of budget once no budget binds, so it is exact and needs no bisection.
    """
    require_places(problem)
    factor, factor_proven = _factor(problem)
    if factor <= 1.0:
        return WhatIf(True, problem.budget_bytes, 0, factor, factor_proven)
    missing, proven = cheapest_repair(problem)
    if missing is None:  # the factor's budgets do: enough, though not the least in sum
        missing = {n: int(np.ceil(factor * int(v))) - int(v) for n, v in enumerate(problem.budget_bytes)}
    budgets = problem.budget_bytes.copy()
    for client, extra in missing.items():
        budgets[client] += extra
    budgets.setflags(write=False)
    return WhatIf(False, budgets, sum(missing.values()), factor, factor_proven and proven)


def _factor(problem: AllocationProblem) -> tuple[float, bool]:
    """min over all matrices of max_n bytes_n / V_n with no budget in the way, and whether it is proven."""
    everything = problem.base_bytes + problem.active_bytes.sum(axis=1)
    # A whole multiple keeps shares exact: share of k·V is share of V over k.
    times = max(1, int((-(-everything // problem.budget_bytes)).max()))
    free = merge(replace(problem, budget_bytes=problem.budget_bytes * times, vram_objective="worst_share"))
    start = greedy(free, "vram")
    answer = minimise(free, "vram", (), start, gap=0.0, deadline=time.monotonic() + FACTOR_LIMIT_S)
    if answer.counts is None:
        proven = "proven by the solver" if answer.status == "infeasible" else f"none found in {FACTOR_LIMIT_S:g} s"
        raise AllocationInfeasible(
            f"allocation: max_blocks, must_hold and must_not_hold leave no matrix with {problem.coverage} holders per "
            f"block, whatever the budgets ({proven})"
        )
    factor = objectives.worst_share(deal(answer.counts, free), problem)
    return factor, answer.status == "optimal"
