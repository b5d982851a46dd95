"""An independent check of an allocation. It shares no code with the program and the objectives.

Source: the constraints of docs/algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation.problem import AllocationProblem

# This many rows stay in the cache while their bytes are summed.
CLIENTS_AT_ONCE = 4_096


def check(problem: AllocationProblem, active: ActiveSets, *, covered: bool = True) -> list[str]:
    """A sentence with numbers for every violated constraint; empty if the allocation is valid.

    Does not raise. A million clients with 32 blocks take about half a second.

    Args:
        covered: False: the coverage is not checked; the comparator `last` does not keep it.
    """
    matrix, names = active.matrix, problem.client_names
    clients, blocks = len(names), len(problem.block_weight)
    if matrix.shape != (clients, blocks):
        return [f"the matrix has shape {matrix.shape}; it must be [{clients} clients, {blocks} blocks]"]

    # int64 is wide enough: the problem refuses bytes that could sum to 2**62.
    used = problem.base_bytes.astype(np.int64)
    block_counts = np.zeros(clients, dtype=np.int64)
    holders = np.zeros(blocks, dtype=np.int64)
    for first in range(0, clients, CLIENTS_AT_ONCE):
        chunk = slice(first, first + CLIENTS_AT_ONCE)
        used[chunk] += np.where(matrix[chunk], problem.active_bytes[chunk], 0).sum(axis=1)
        block_counts[chunk] = np.count_nonzero(matrix[chunk], axis=1)
        holders += np.count_nonzero(matrix[chunk], axis=0)
    budget, least = problem.budget_bytes, np.broadcast_to(problem.min_blocks, (clients,))
    broken = [
        f"{names[n]}: holds {used[n]:,} bytes, {used[n] - budget[n]:,} over its budget of {budget[n]:,}"
        for n in np.flatnonzero(used > budget)
    ]
    broken += [
        f"{names[n]}: has no active block; every client needs at least 1"
        if block_counts[n] == 0
        else f"{names[n]}: has {block_counts[n]} active blocks; min_blocks is {least[n]}"
        for n in np.flatnonzero((block_counts == 0) | (block_counts < least))
    ]
    if problem.max_blocks is not None:
        most = np.broadcast_to(problem.max_blocks, (clients,))
        broken += [
            f"{names[n]}: has {block_counts[n]} active blocks; max_blocks is {most[n]}"
            for n in np.flatnonzero(block_counts > most)
        ]
    if problem.must_hold is not None:
        missing = np.argwhere(problem.must_hold & ~matrix)
        broken += [f"{names[n]}: must hold block {b} and does not" for n, b in missing]
    if problem.must_not_hold is not None:
        held_anyway = np.argwhere(problem.must_not_hold & matrix)
        broken += [f"{names[n]}: must not hold block {b} and does" for n, b in held_anyway]
    if covered:
        broken += [
            f"block {b}: active on {holders[b]} clients; coverage is {problem.coverage}"
            for b in np.flatnonzero(holders < problem.coverage)
        ]
    return broken
