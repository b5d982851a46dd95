"""A new deal of the same worth: other clients hold a block, nothing that was optimised changes.

Three moves keep every client's bytes within its budget, f1, the total bytes and the worst share (the round time f3,
which asks which blocks, may change):

- blocks that are equal in bytes, ω and γ hand their holders on, in a circle: who holds few comes to all of them;
- clients that are equal in bytes and budget hand their whole sets on, in a circle;
- a client with block b and not c and one with c and not b exchange them, where b and c cost each of them the same.

Source: the bias term ζ² (1/N_b − 1/N) of algorithm.md section 5 is one round's; over rounds in which every client comes
to hold a block its data is seen. The moves are this project's own.
"""

from itertools import combinations

import numpy as np

from zorba_ray.allocation.problem import AllocationProblem

_SWEEPS = 16
"""Passes over all pairs of blocks; each exchange lowers a whole number, and a few passes reach the end of it."""


def rotate(
    active: np.ndarray, seen: np.ndarray, problem: AllocationProblem, fixed: np.ndarray | None = None
) -> np.ndarray:
    """[N, L] bool: the next deal after `active`, which prefers what clients have held least.

    Deterministic: ties go by client and block number.

    Args:
        active: [N, L] bool, the deal in force; valid for `problem`.
        seen: [N, L] float64, rounds for which each client has held each block.
        fixed: [N, L] bool, entries that must stay as they are; None: all are free.
    """
    free = np.ones_like(active) if fixed is None else ~fixed
    dealt = _pass_on_holders(_pass_on_sets(active, problem, free), problem, free)
    for _ in range(_SWEEPS):
        if not sum(_exchange(dealt, seen, problem, free, b, c) for b, c in combinations(range(problem.blocks), 2)):
            break
    return dealt


def _pass_on_sets(active: np.ndarray, problem: AllocationProblem, free: np.ndarray) -> np.ndarray:
    """Equal clients hand their sets to the one before them."""
    figures = np.column_stack((problem.active_bytes, problem.base_bytes, problem.budget_bytes))
    dealt = active.copy()
    for members in _alike(figures, np.asarray(free.all(axis=1))):
        dealt[members] = active[np.roll(members, -1)]
    return dealt


def _pass_on_holders(active: np.ndarray, problem: AllocationProblem, free: np.ndarray) -> np.ndarray:
    """Equal blocks hand their holders to the one before them."""
    figures = np.column_stack((problem.active_bytes.T.astype(np.float64), problem.block_weight, problem.shared_cost))
    dealt = active.copy()
    for members in _alike(figures, np.asarray(free.all(axis=0))):
        dealt[:, members] = active[:, np.roll(members, -1)]
    return dealt


def _alike(figures: np.ndarray, able: np.ndarray) -> list[list[int]]:
    """Rows of `figures` with the same bytes, of those that are `able`."""
    found: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(able).tolist():
        found.setdefault(figures[row].tobytes(), []).append(row)
    return list(found.values())


def _exchange(
    active: np.ndarray, seen: np.ndarray, problem: AllocationProblem, free: np.ndarray, b: int, c: int
) -> int:
    """Exchanges b for c between pairs of clients, in place, where that lowers Σ seen · active; returns how often."""
    able = (problem.active_bytes[:, b] == problem.active_bytes[:, c]) & free[:, b] & free[:, c]
    gain = seen[:, b] - seen[:, c]  # of giving b for c
    givers = np.flatnonzero(able & active[:, b] & ~active[:, c])
    takers = np.flatnonzero(able & active[:, c] & ~active[:, b])
    givers = givers[np.argsort(-gain[givers], kind="stable")]
    takers = takers[np.argsort(gain[takers], kind="stable")]
    count = min(len(givers), len(takers))
    better = gain[givers[:count]] - gain[takers[:count]] > 0
    count = int(better.sum())  # both are sorted, so the better ones come first
    moved = np.concatenate((givers[:count], takers[:count]))
    active[moved, b] = ~active[moved, b]
    active[moved, c] = ~active[moved, c]
    return count
