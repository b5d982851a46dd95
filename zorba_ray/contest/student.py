"""Intervals of a mean over few seeds: Student's t, in closed form for whole degrees of freedom.

Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

import functools
import math
from collections.abc import Sequence
from statistics import fmean, stdev

LEVEL = 0.95
"""Of every interval of a comparison."""


def mean_and_half(values: Sequence[float], level: float = LEVEL) -> tuple[float, float | None]:
    """The mean, and half the width of its interval; None for a single value, which says nothing of its spread.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("the mean of nothing")
    if len(values) == 1:
        return values[0], None
    return fmean(values), t_quantile(len(values) - 1, level) * stdev(values) / math.sqrt(len(values))


@functools.cache
def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """t with P(|T| ≤ t) = `level` for `freedom` ≥ 1 degrees, by bisection to the last digit."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < level:
        high *= 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| ≤ t)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    # Odd: cos + 2/3 cos³ + …; even: 1 + 1/2 cos² + …; up to cos^(freedom − 2).
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
