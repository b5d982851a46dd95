"""Simple allocations to compare the lexicographic one with: they keep the same budgets and rules, and prove nothing.

Source: the comparators are ours; the constraints are those of docs/algorithm.md section 7.
"""

from typing import Literal

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import objectives
from zorba_ray.allocation.answer import Allocation
from zorba_ray.allocation.check import check
from zorba_ray.allocation.classes import deal, merge
from zorba_ray.allocation.feasibility import require_feasible
from zorba_ray.allocation.objectives import counting_bound
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.allocation.start import greedy
from zorba_ray.errors import AllocationInfeasible

Comparator = Literal["greedy", "random", "last"]


def allocate_simply(problem: AllocationProblem, algorithm: Comparator, draws: np.ndarray) -> Allocation:
    """An allocation by one of the comparators.

    `last` gives every client the blocks that it must hold, then its other blocks from the last one backwards, until one
    does not fit. Only `last` may break the coverage; f1 is infinite if no client activates a block. The gap is to the
    bound by counting, which is weak.

    Args:
        draws: float64 [N, L] in (0, 1): the random numbers of `random`.

    Raises:
        AllocationInfeasible: there is no allocation, or the comparator finds none that keeps the rules; names a rule.
    """
    require_feasible(problem, covered=algorithm != "last")
    groups = merge(problem)
    if algorithm == "greedy":
        counts = greedy(groups, "convergence")
        active = None if counts is None else deal(counts, groups)
    elif algorithm == "random":
        active = _random(problem, draws)
    else:
        from_the_end = np.broadcast_to(np.arange(problem.blocks)[::-1], problem.active_bytes.shape)
        active = ActiveSets(_taken_in_order(problem, from_the_end, ends_at_misfit=True)[0])
    broken = ["a block has too few holders"] if active is None else check(problem, active, covered=algorithm != "last")
    if active is None or broken:
        raise AllocationInfeasible(
            f"allocation.algorithm={algorithm} found no allocation that keeps all rules ({broken[0]}), which does not "
            "prove that there is none: use allocation.algorithm=lexicographic, raise a budget, or loosen the rule"
        )
    f1 = objectives.f1(active.matrix, problem)
    return Allocation(
        active=active,
        steps=(),
        f1=f1,
        f2_bytes=objectives.f2_bytes(active.matrix, problem),
        worst_share=objectives.worst_share(active.matrix, problem),
        gap=1.0 if f1 == float("inf") else max(0.0, 1.0 - counting_bound(groups, "convergence") / f1),
        solver=algorithm,
    )


def _random(problem: AllocationProblem, draws: np.ndarray) -> ActiveSets | None:
    """A random allocation; None: it does not reach the coverage. It does not look at `min_blocks`.

    Every client takes the blocks that it must hold, then allowed blocks in random order as long as they fit. Then each
    block on too few clients replaces a block that is on more clients than needed.
    """
    order = np.argsort(draws, axis=1, kind="stable")
    active, slack = _taken_in_order(problem, order, ends_at_misfit=False)
    for block in np.argsort(draws[0], kind="stable"):
        while active[:, block].sum() < problem.coverage:
            if not _give(problem, active, slack, int(block), draws):
                return None
    return ActiveSets(active)


def _taken_in_order(
    problem: AllocationProblem, order: np.ndarray, ends_at_misfit: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(bool [N, L]: the required blocks, and the blocks of `order` [N, L] that fit, in that order; bytes left [N])."""
    active, client = problem.required.copy(), np.arange(problem.clients)
    slack = problem.slack_bytes - objectives.active_bytes_of(active, problem)
    goes_on = np.ones(problem.clients, dtype=bool)
    for block in order.T:
        cost, may = problem.active_bytes[client, block], ~(active | problem.forbidden)[client, block]
        takes = goes_on & may & (cost <= slack) & (active.sum(axis=1) < problem.most_blocks)
        if ends_at_misfit:
            goes_on &= takes | ~may
        active[client[takes], block[takes]] = True
        slack = slack - np.where(takes, cost, 0)
    return active, slack


def _give(problem: AllocationProblem, active: np.ndarray, slack: np.ndarray, block: int, draws: np.ndarray) -> bool:
    """Puts `block` on one more client, in place of a block that is on more clients than needed. False: impossible."""
    spare = active.sum(axis=0) > problem.coverage
    for client in np.argsort(draws[:, block], kind="stable"):
        if active[client, block] or problem.forbidden[client, block]:
            continue
        for other in np.argsort(draws[client], kind="stable"):
            if not active[client, other] or not spare[other] or problem.required[client, other]:
                continue
            change = int(problem.active_bytes[client, block] - problem.active_bytes[client, other])
            if change <= slack[client]:
                active[client, other], active[client, block] = False, True
                slack[client] -= change
                return True
    return False
