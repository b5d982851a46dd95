"""Lower bounds of the objectives by counting alone: weak, instant, and valid when no solver ran at all.

Source: the constraints of algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.problem import AllocationProblem, Objective


def counting_bound(problem: AllocationProblem, objective: Objective) -> float:
    """A number (f1, bytes, or share) below which no valid matrix can be. Needs a client that can hold each block."""
    if objective == "convergence":
        return _f1_bound(problem)
    cheapest = problem.active_bytes.min(axis=1)
    if problem.vram_objective == "worst_share":
        return float(((problem.base_bytes + cheapest) / problem.budget_bytes).max())
    # Everybody holds at least its cheapest block, and every block is held by at least its `coverage` cheapest clients.
    by_client = int(cheapest.sum())
    by_block = int(np.sort(problem.active_bytes, axis=0)[: problem.coverage].sum())
    return float(int(problem.base_bytes.sum()) + max(by_client, by_block))


def _f1_bound(problem: AllocationProblem) -> float:
    """Every block on its own best number of holders, as if the budgets did not couple the blocks."""
    able = (problem.active_bytes <= problem.room_bytes[:, None]).sum(axis=0)
    total = 0.0
    for block in range(problem.blocks):
        counts = np.arange(problem.coverage, max(int(able[block]), problem.coverage) + 1)
        rare = problem.clients * problem.block_weight[block] / counts
        total += float((rare + problem.beta * problem.shared_cost[block] * counts).min())
    return total / objectives.f1_scale(problem)
