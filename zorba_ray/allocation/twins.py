"""Clients that keep rows of their own although only their names tell them apart: an order among them.

Any permutation of such clients is the same allocation again; asking that the first holds no fewer blocks than the
second leaves the solver one of them. Ours.
"""

import numpy as np

from zorba_ray.allocation.classes import Merged


def twins(problem: Merged) -> dict[int, int]:
    """Row -> the row before it that is equal in bytes, budget, limits, rules and times."""
    columns = [problem.active_bytes, problem.required, problem.forbidden]
    columns += [each for each in (problem.block_seconds, problem.stream_seconds) if each is not None]
    last: dict[bytes, int] = {}
    found: dict[int, int] = {}
    for row in np.flatnonzero(problem.size == 1).tolist():
        numbers = (problem.base_bytes, problem.budget_bytes, problem.least, problem.capacity)
        key = b"".join(each[row].tobytes() for each in (*columns, *numbers))
        if key in last:
            found[row] = last[key]
        last[key] = row
    return found


def sorted_twins(counts: np.ndarray, found: dict[int, int]) -> np.ndarray:
    """The same allocation with the rows of twins permuted so that they keep the order."""
    chains: dict[int, list[int]] = {}
    head: dict[int, int] = {}
    for row in sorted(found):
        head[row] = head.get(found[row], found[row])
        chains.setdefault(head[row], [head[row]]).append(row)
    sorted_counts = counts.copy()
    for rows in chains.values():
        order = sorted(rows, key=lambda row: -int(counts[row].sum()))
        sorted_counts[rows] = counts[order]
    return sorted_counts
