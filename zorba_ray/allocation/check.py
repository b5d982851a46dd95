"""The independent judge of an allocation: its own sums over the matrix, sharing no code with the program or objectives.

Source: the constraints of docs/algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation.problem import AllocationProblem

# So many rows stay in the cache while their bytes are summed.
CLIENTS_AT_ONCE = 4_096


def check(problem: AllocationProblem, active: ActiveSets, *, covered: bool = True) -> list[str]:
    """Every violated constraint in words, with its numbers; empty when the allocation is valid.

    Does not raise. A million clients with 32 blocks take about half a second. `covered` False leaves the coverage out,
    which the comparator `last` does not keep.
    """
    matrix, names = active.matrix, problem.client_names
    clients, blocks = len(names), len(problem.block_weight)
    if matrix.shape != (clients, blocks):
        return [f"the matrix has shape {matrix.shape}; {clients} clients and {blocks} blocks were asked for"]

    # int64 is wide enough: the problem refuses bytes that could sum to 2**62.
    used = problem.base_bytes.astype(np.int64)
    held = np.zeros(clients, dtype=np.int64)
    holders = np.zeros(blocks, dtype=np.int64)
    for first in range(0, clients, CLIENTS_AT_ONCE):
        some = slice(first, first + CLIENTS_AT_ONCE)
        used[some] += np.where(matrix[some], problem.active_bytes[some], 0).sum(axis=1)
        held[some] = np.count_nonzero(matrix[some], axis=1)
        holders += np.count_nonzero(matrix[some], axis=0)
    budget, least = problem.budget_bytes, np.broadcast_to(problem.min_blocks, (clients,))
    broken = [
        f"{names[n]}: holds {used[n]:,} bytes, {used[n] - budget[n]:,} over its budget of {budget[n]:,}"
        for n in np.flatnonzero(used > budget)
    ]
    broken += [
        f"{names[n]}: has no active block; every client needs at least 1"
        if held[n] == 0
        else f"{names[n]}: has {held[n]} active blocks; min_blocks is {least[n]}"
        for n in np.flatnonzero((held == 0) | (held < least))
    ]
    if problem.max_blocks is not None:
        most = np.broadcast_to(problem.max_blocks, (clients,))
        broken += [
            f"{names[n]}: has {held[n]} active blocks; max_blocks is {most[n]}" for n in np.flatnonzero(held > most)
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
