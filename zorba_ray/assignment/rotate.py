"""Rotation: gives blocks to other clients, without a change of the objectives.

Three moves keep budgets, rules, f1, the total bytes and the worst share:

- Clients that are equal in bytes, budget, limits and rules pass their whole sets on, in a circle.
- Blocks that are equal in bytes, ω, γ and rules pass their clients on, in a circle. So a client with few blocks holds
  all of them in turn.
- Two clients exchange block b of one for block c of the other, if b and c cost each of them the same and no rule
  prescribes b or c for them.

The round time f3 depends on which blocks a client holds. If it is an objective, only whole sets are passed on, between
clients with equal times. If it is not, it may change.

Source: the bias term ζ² (1/N_b − 1/N) of algorithm.md section 5 is that of one round. With rotation every block is
trained on every client's data over the rounds. The moves are ours.
"""

from itertools import combinations

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation.problem import AllocationProblem

_SWEEPS = 16
"""Most passes over all pairs of blocks. Each exchange lowers a whole number, so a few passes are enough."""


def rotate(active: ActiveSets, rounds_held: np.ndarray, problem: AllocationProblem) -> ActiveSets:
    """The next assignment after `active`. It prefers blocks that a client has held for few rounds. If nothing can move,
    it is `active` itself.

    Deterministic: equal candidates are ordered by client and block number.

    Args:
        active: the present assignment, valid for `problem`; the result is valid, too.
        rounds_held: [N, L] float64, number of rounds in which each client has held each block.
    """
    matrix = _pass_on_sets(active.matrix, problem)
    if "time" in problem.order:
        return ActiveSets(matrix)
    matrix = _pass_on_holders(matrix, problem)
    free = ~(problem.required | problem.forbidden)
    for _ in range(_SWEEPS):
        if not sum(
            _exchange(matrix, rounds_held, problem, free, b, c) for b, c in combinations(range(problem.blocks), 2)
        ):
            break
    return ActiveSets(matrix)


def _pass_on_sets(active: np.ndarray, problem: AllocationProblem) -> np.ndarray:
    """Each client of a group of equal clients gets the set of the next one."""
    figures = [problem.active_bytes, problem.base_bytes, problem.budget_bytes, problem.least_blocks]
    figures += [problem.most_blocks, problem.required, problem.forbidden]
    if "time" in problem.order:
        figures += [seconds for seconds in (problem.block_seconds, problem.stream_seconds) if seconds is not None]
    passed_on = active.copy()
    for members in _alike(figures):
        passed_on[members] = active[np.roll(members, -1)]
    return passed_on


def _pass_on_holders(active: np.ndarray, problem: AllocationProblem) -> np.ndarray:
    """Each block of a group of equal blocks gets the clients of the next one. Rules are the same for these blocks."""
    figures = [problem.active_bytes.T, problem.block_weight, problem.shared_cost]
    figures += [problem.required.T, problem.forbidden.T]
    passed_on = active.copy()
    for members in _alike(figures):
        passed_on[:, members] = active[:, np.roll(members, -1)]
    return passed_on


def _alike(figures: list[np.ndarray]) -> list[list[int]]:
    """Groups of rows whose bytes are equal in every one of `figures`."""
    groups: dict[bytes, list[int]] = {}
    for row in range(len(figures[0])):
        groups.setdefault(b"".join(array[row].tobytes() for array in figures), []).append(row)
    return list(groups.values())


def _exchange(
    active: np.ndarray, rounds_held: np.ndarray, problem: AllocationProblem, free: np.ndarray, b: int, c: int
) -> int:
    """Exchanges b for c between pairs of clients, in place, if that lowers Σ rounds_held · active. Returns how
    often."""
    able = (problem.active_bytes[:, b] == problem.active_bytes[:, c]) & free[:, b] & free[:, c]
    gain = rounds_held[:, b] - rounds_held[:, c]  # of a client that gives b and gets c
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
