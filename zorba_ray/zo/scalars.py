"""The scalars of a commit as the update uses them: those far beyond most of the others are shrunk (`zo.clip_spread`).

This acts on one set of scalars: all of a commit, or those of one local step of one client. It is derived by every
replica from the raw scalars in the ledger, in float64 in a fixed order, so that nothing more has to travel.
"""

import numpy as np

from zorba_ray.zo.rule import UpdateRule


def clipped_scalars(rule: UpdateRule, scalars: np.ndarray) -> np.ndarray:
    """float32 [...] -> float64 [...]: ρ, clipped to `clip_spread` times the median |ρ|."""
    found = scalars.astype(np.float64)
    bound = rule.clip_spread * median_size(found) if rule.clip_spread else 0.0
    return np.clip(found, -bound, bound) if bound > 0 else found  # a median of 0 says nothing


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
