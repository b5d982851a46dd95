"""The scalars of a commit as the update uses them: shrunk to what most of them are, divided by their spread.

Both act on one set of scalars: all of a commit, or those of one local step of one client. They are derived by every
replica from the raw scalars in the ledger, in float64 in a fixed order, so that nothing more has to travel.
"""

import math

import numpy as np

from zorba_ray.zo.rule import UpdateRule


def used_scalars(rule: UpdateRule, scalars: np.ndarray) -> np.ndarray:
    """float32 [...] -> float64 [...]: ρ, first shrunk (`clip_spread`), then divided by the spread (`normalise`).

    The spread is taken of what is left after shrinking, or one outlier would make the whole round's step small.
    """
    found = scalars.astype(np.float64)
    if rule.clip_spread:
        bound = rule.clip_spread * median_size(found)
        if bound > 0:  # where most scalars are 0 the median says nothing
            found = np.clip(found, -bound, bound)
    if rule.normalise == "spread":
        size = spread(found)
        found = found / size if size > 0 else np.zeros_like(found)
    return found


def spread(values: np.ndarray) -> float:
    """Root mean square about 0 of float64 [...], added left to right; 0 of nothing.

    About 0 and not about the mean: with one pair per client, or clients that agree, the mean is the signal itself.
    The idea of FZOO (Dang et al., arXiv 2506.09034), which divides the rate by the standard deviation of one-sided
    losses.
    """
    if not values.size:
        return 0.0
    return math.sqrt(total(values.reshape(-1) ** 2) / values.size)


def median_size(values: np.ndarray) -> float:
    """Median of |v| of float64 [...]: of an even number the mean of the middle two; 0 of nothing."""
    ordered = np.sort(np.abs(values), axis=None)
    if not ordered.size:
        return 0.0
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2.0


def total(values: np.ndarray) -> float:
    """Sum of float64 [k], left to right: numpy's own adds in an order that depends on its version and the machine."""
    with np.errstate(over="ignore"):
        return float(np.cumsum(values)[-1]) if len(values) else 0.0
