"""Allocations without a program, to compare the lexicographic one with: the same budgets, no proof.

Source: the comparators are this project's own; constraints of algorithm.md section 7.
"""

from typing import Literal

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.answer import Allocation
from zorba_ray.allocation.bounds import counting_bound
from zorba_ray.allocation.classes import deal, merge
from zorba_ray.allocation.feasibility import require_feasible
from zorba_ray.allocation.greedy import greedy
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.errors import AllocationInfeasible

Comparator = Literal["greedy", "random", "last"]


def allocate_simply(problem: AllocationProblem, algorithm: Comparator, draws: np.ndarray) -> Allocation:
    """An allocation by one of the comparators.

    f1 is infinite where `last` leaves a block to nobody. The gap is against the bound by counting, which is weak.

    Args:
        draws: float64 [N, L] in (0, 1), all that `random` knows of chance.

    Raises:
        AllocationInfeasible: there is none, or the comparator finds none.
    """
    require_feasible(problem)
    if algorithm == "greedy":
        merged = merge(problem)
        counts = greedy(merged, "convergence")
        active = None if counts is None else deal(counts, merged)
    elif algorithm == "random":
        active = random(problem, draws)
    else:
        active = last(problem)
    if active is None:
        raise AllocationInfeasible(
            f"allocation.algorithm={algorithm} found no allocation that keeps budgets and coverage, which does not "
            "prove that there is none: use allocation.algorithm=lexicographic, or raise a budget"
        )
    f1 = objectives.f1(active, problem)
    return Allocation(
        active=active,
        steps=(),
        f1=f1,
        f2_bytes=objectives.f2_bytes(active, problem),
        worst_share=objectives.worst_share(active, problem),
        gap=1.0 if f1 == float("inf") else max(0.0, 1.0 - counting_bound(merge(problem), "convergence") / f1),
        solver=algorithm,
    )


def last(problem: AllocationProblem) -> np.ndarray | None:
    """[N, L] bool: every client the last blocks that fit, without a hole; coverage is not kept. None: some client
    has no room for the last block."""
    backwards = problem.active_bytes[:, ::-1].cumsum(axis=1)
    fits = np.minimum((backwards <= problem.room_bytes[:, None]).sum(axis=1), problem.most_blocks)
    active = np.arange(problem.blocks) >= problem.blocks - fits[:, None]
    return active if (fits >= 1).all() else None


def random(problem: AllocationProblem, draws: np.ndarray) -> np.ndarray | None:
    """[N, L] bool: every client takes blocks in random order while they fit; then a block on too few clients takes the
    place of one that has holders to spare. None where that does not reach the coverage."""
    active = np.zeros((problem.clients, problem.blocks), dtype=bool)
    room = problem.room_bytes.copy()
    for client, order in enumerate(np.argsort(draws, axis=1, kind="stable")):
        for block in order:
            if (
                problem.active_bytes[client, block] <= room[client]
                and active[client].sum() < problem.most_blocks[client]
            ):
                active[client, block] = True
                room[client] -= problem.active_bytes[client, block]
    for block in np.argsort(draws[0], kind="stable"):
        while objectives.holders(active)[block] < problem.coverage:
            if not _give(problem, active, room, int(block), draws):
                return None
    return active if active.any(axis=1).all() else None


def _give(problem: AllocationProblem, active: np.ndarray, room: np.ndarray, block: int, draws: np.ndarray) -> bool:
    """Puts `block` on one more client in place of a block with holders to spare. Returns whether it worked."""
    spare = objectives.holders(active) > problem.coverage
    for client in np.argsort(draws[:, block], kind="stable"):
        if active[client, block]:
            continue
        for other in np.argsort(draws[client], kind="stable"):
            change = int(problem.active_bytes[client, block] - problem.active_bytes[client, other])
            if active[client, other] and spare[other] and change <= room[client]:
                active[client, other], active[client, block] = False, True
                room[client] -= change
                return True
    return False
