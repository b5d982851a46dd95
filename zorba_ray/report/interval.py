"""The mean of a few values with its 95 % interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t at 1, 2, … 30 degrees of freedom."""
_NORMAL975 = 1.960


@dataclass(frozen=True)
class Interval:
    """Mean of n values and half the width of its 95 % interval (None for one value)."""

    mean: float
    half: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval | None":
        """By Student's t; None without values."""
        n = len(values)
        if not n:
            return None
        mean = math.fsum(values) / n
        if n == 1:
            return cls(mean, None, 1)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
        return cls(mean, _quantile(n - 1) * spread / math.sqrt(n), n)


def _quantile(freedom: int) -> float:
    """97.5 % of Student's t; beyond the table by the first term of its expansion about the normal's, right to 1e-3."""
    if freedom <= len(_T975):
        return _T975[freedom - 1]
    return _NORMAL975 + (_NORMAL975**3 + _NORMAL975) / (4 * freedom)
