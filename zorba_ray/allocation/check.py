"""The independent judge of an allocation: its own sums over the matrix, sharing no code with the model or objectives.

Source: the constraints of algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.allocation.problem import AllocationProblem

# So many rows stay in the cache while their bytes are summed.
CLIENTS_AT_ONCE = 4_096


def check(problem: AllocationProblem, active: np.ndarray, *, covered: bool = True) -> list[str]:
    """Every violated constraint in words, with its numbers; empty when the allocation is valid.

    `active` must be [N, L] of bool, or of the numbers 0 and 1. Does not raise. A million clients with 32 blocks take
    about half a second. `covered` False leaves the coverage out, which the comparator `last` does not keep.
    """
    matrix = np.asarray(active)
    clients, blocks = len(problem.client_names), len(problem.block_weight)
    if matrix.shape != (clients, blocks):
        return [f"the matrix has shape {matrix.shape}; {clients} clients and {blocks} blocks were asked for"]
    if matrix.dtype.kind not in "biuf" or (matrix.dtype.kind != "b" and not ((matrix == 0) | (matrix == 1)).all()):
        return ["the matrix holds something other than 0 and 1"]
    matrix = matrix.astype(bool, copy=False)

    found: list[str] = []
    # int64 is wide enough: the problem refuses bytes that could sum to 2**62.
    used = problem.base_bytes.astype(np.int64)
    held = np.zeros(clients, dtype=np.int64)
    holders = np.zeros(blocks, dtype=np.int64)
    for first in range(0, clients, CLIENTS_AT_ONCE):
        some = slice(first, first + CLIENTS_AT_ONCE)
        used[some] += np.where(matrix[some], problem.active_bytes[some], 0).sum(axis=1)
        held[some] = np.count_nonzero(matrix[some], axis=1)
        holders += np.count_nonzero(matrix[some], axis=0)
    for client in np.flatnonzero(used > problem.budget_bytes).tolist():
        over = int(used[client]) - int(problem.budget_bytes[client])
        found.append(
            f"{problem.client_names[client]}: holds {int(used[client]):,} bytes, {over:,} over its budget of "
            f"{int(problem.budget_bytes[client]):,}"
        )
    for client in np.flatnonzero(held == 0).tolist():
        found.append(f"{problem.client_names[client]}: has no active block; every client needs at least 1")
    least = np.broadcast_to(problem.min_blocks, (clients,))
    for client in np.flatnonzero((held < least) & (held > 0)).tolist():
        found.append(f"{problem.client_names[client]}: has {held[client]} active blocks; min_blocks is {least[client]}")
    if problem.max_blocks is not None:
        most = np.broadcast_to(problem.max_blocks, (clients,))
        for client in np.flatnonzero(held > most).tolist():
            found.append(
                f"{problem.client_names[client]}: has {held[client]} active blocks; max_blocks is {most[client]}"
            )
    if problem.must_hold is not None:
        for client, block in np.argwhere(problem.must_hold & ~matrix).tolist():
            found.append(f"{problem.client_names[client]}: must hold block {block} and does not")
    if problem.must_not_hold is not None:
        for client, block in np.argwhere(problem.must_not_hold & matrix).tolist():
            found.append(f"{problem.client_names[client]}: must not hold block {block} and does")
    for block, count in enumerate(holders.tolist()):
        if covered and count < problem.coverage:
            found.append(f"block {block}: active on {count} clients; coverage is {problem.coverage}")
    return found
