"""The independent judge of an allocation: its own loops over the matrix, sharing no code with the model or objectives.

Source: the constraints of algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.allocation.problem import AllocationProblem


def check(problem: AllocationProblem, active: np.ndarray) -> list[str]:
    """Every violated constraint in words, with its numbers; empty when the allocation is valid.

    `active` must be [N, L] of bool, or of the numbers 0 and 1. Does not raise.
    """
    matrix = np.asarray(active)
    expected = (len(problem.client_names), len(problem.block_weight))
    if matrix.shape != expected:
        return [f"the matrix has shape {matrix.shape}; {expected[0]} clients and {expected[1]} blocks were asked for"]
    if matrix.dtype.kind not in "biuf" or any(entry not in (0, 1) for entry in np.unique(matrix).tolist()):
        return ["the matrix holds something other than 0 and 1"]

    found: list[str] = []
    seen = [0] * expected[1]
    for client, row in enumerate(matrix.tolist()):
        held = [block for block, entry in enumerate(row) if entry]
        for block in held:
            seen[block] += 1
        # Python integers: no width, no rounding.
        used = int(problem.base_bytes[client]) + sum(int(problem.active_bytes[client, block]) for block in held)
        budget = int(problem.budget_bytes[client])
        name = problem.client_names[client]
        if used > budget:
            found.append(f"{name}: holds {used:,} bytes, {used - budget:,} over its budget of {budget:,}")
        if not held:
            found.append(f"{name}: has no active block; every client needs at least 1")
        if problem.max_blocks is not None and len(held) > problem.max_blocks:
            found.append(f"{name}: has {len(held)} active blocks; max_blocks is {problem.max_blocks}")
    for block, count in enumerate(seen):
        if count < problem.coverage:
            found.append(f"block {block}: active on {count} clients; coverage is {problem.coverage}")
    return found
