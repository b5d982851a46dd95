"""A new deal of the same worth: other clients hold a block, nothing that was optimised changes.

Three moves keep every client's bytes within its budget, its rules, f1, the total bytes and the worst share:

- clients that are equal in bytes, budget, limits and rules hand their whole sets on, in a circle;
- blocks that are equal in bytes, ω, γ and rules hand their holders on, in a circle: who holds few comes to all of them;
- a client with block b and not c and one with c and not b exchange them, where b and c cost each of them the same and
  no rule is about them there.

The round time f3 asks which blocks a client holds: where it is an objective, only whole sets move, between clients of
equal times. Where it is not, it may change.

Source: the bias term ζ² (1/N_b − 1/N) of algorithm.md section 5 is one round's; over rounds in which every client comes
to hold a block its data is seen. The moves are this project's own.
"""

from itertools import combinations

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation.problem import AllocationProblem

_SWEEPS = 16
"""Passes over all pairs of blocks; each exchange lowers a whole number, and a few passes reach the end of it."""


def rotate(active: ActiveSets, seen: np.ndarray, problem: AllocationProblem) -> ActiveSets:
    """The next assignment after `active`, which prefers what clients have held least; `active` itself where nothing can
    move.

    Deterministic: ties go by client and block number.

    Args:
        active: the assignment in force; valid for `problem`, as is the next one.
        seen: [N, L] float64, rounds for which each client has held each block.
    """
    dealt = _pass_on_sets(active.matrix, problem)
    if "time" in problem.order:
        return ActiveSets(dealt)
    dealt = _pass_on_holders(dealt, problem)
    free = ~(problem.required | problem.forbidden)
    for _ in range(_SWEEPS):
        if not sum(_exchange(dealt, seen, problem, free, b, c) for b, c in combinations(range(problem.blocks), 2)):
            break
    return ActiveSets(dealt)


def _pass_on_sets(active: np.ndarray, problem: AllocationProblem) -> np.ndarray:
    """Equal clients hand their sets to the one before them."""
    figures = [problem.active_bytes, problem.base_bytes, problem.budget_bytes, problem.least_blocks]
    figures += [problem.most_blocks, problem.required, problem.forbidden]
    if "time" in problem.order:
        figures += [each for each in (problem.block_seconds, problem.stream_seconds) if each is not None]
    dealt = active.copy()
    for members in _alike(figures):
        dealt[members] = active[np.roll(members, -1)]
    return dealt


def _pass_on_holders(active: np.ndarray, problem: AllocationProblem) -> np.ndarray:
    """Equal blocks hand their holders to the one before them. Rules are equal on them, so each stays kept."""
    figures = [problem.active_bytes.T, problem.block_weight, problem.shared_cost]
    figures += [problem.required.T, problem.forbidden.T]
    dealt = active.copy()
    for members in _alike(figures):
        dealt[:, members] = active[:, np.roll(members, -1)]
    return dealt


def _alike(figures: list[np.ndarray]) -> list[list[int]]:
    """Rows that are equal, to the byte, in every one of `figures`."""
    found: dict[bytes, list[int]] = {}
    for row in range(len(figures[0])):
        found.setdefault(b"".join(each[row].tobytes() for each in figures), []).append(row)
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
