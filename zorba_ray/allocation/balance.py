"""Exchange within groups of equal blocks: one block's holders become another's, as long as f1 falls.

Bytes and numbers of blocks stay. f1 is separable and convex in N_b and the groups form a transport problem, so large
exchanges first and single ones last end at or next to the optimum for the bytes in hand. Ours.
"""

import numpy as np

from zorba_ray.allocation.bounds import f1_terms
from zorba_ray.allocation.classes import Merged

# Exchanges of one size at most; seen: under 100.
MOST = 2_000
MARGIN = 1e-15


def balance(problem: Merged, start: np.ndarray) -> np.ndarray:
    """[G, L] int64: valid counts with no larger f1 than the valid `start`, and the same bytes for every group."""
    rows = np.flatnonzero(problem.equal)
    if not len(rows):
        return start
    counts, (rare, shared) = start.copy(), f1_terms(problem)
    size = problem.size[rows, None]
    low, high = size * problem.required[rows], size * ~problem.forbidden[rows]
    step = 1 << int(problem.size[rows].max()).bit_length()
    while step := step // 2:
        for _ in range(MOST):
            if not _exchange(problem, counts, rows, low, high, rare, shared, step):
                break
    return counts


def _exchange(
    problem: Merged,
    counts: np.ndarray,
    rows: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    rare: np.ndarray,
    shared: np.ndarray,
    step: int,
) -> bool:
    """The best exchange of `step` holders within one group, done in place; whether there was one."""
    held, mine = counts.sum(axis=0), counts[rows]
    fewer = np.maximum(held - step, 1)
    loss = rare * (1 / fewer - 1 / held) - shared * step
    gain = rare * (1 / held - 1 / (held + step)) - shared * step
    gives = (mine - step >= low) & (held - step >= problem.coverage)
    losses = np.where(gives, loss, np.inf)
    gains = np.where(mine + step <= high, gain, -np.inf)
    out, into = losses.argmin(axis=1), gains.argmax(axis=1)
    at = np.arange(len(rows))
    better = gains[at, into] - losses[at, out]
    best = int(better.argmax())
    if not better[best] > MARGIN:
        return False
    counts[rows[best], out[best]] -= step
    counts[rows[best], into[best]] += step
    return True
