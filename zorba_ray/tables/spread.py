"""Mean, range, standard deviation and interval of a number over a few seeds; interval of a share over rows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

_T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t at 1, 2, … 30 degrees of freedom."""
_NORMAL975 = 1.960


@dataclass(frozen=True)
class Spread:
    """The values of one quantity over seeds."""

    values: tuple[float, ...]
    """At least one, in the order of the seeds."""

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """The spread of the values that are not None; None: there is no such value."""
        numbers = tuple(value for value in values if value is not None)
        return cls(numbers) if numbers else None

    @classmethod
    def of_all(cls, values: Iterable[float | None]) -> "Spread | None":
        """As `of`, but None if any value is None: a mean over the others would not be that of the group."""
        every = list(values)
        return None if None in every else cls.of(every)

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return fmean(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation; None for one value."""
        return stdev(self.values) if self.count > 1 else None

    @property
    def half(self) -> float | None:
        """Half the width of the 95 % interval of the mean, by Student's t; None for one value."""
        return None if self.sd is None else quantile(self.count - 1) * self.sd / math.sqrt(self.count)


def quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t. Beyond the table it is the first term of an expansion around the normal quantile,
    with an error below 1e-3."""
    if freedom <= len(_T975):
        return _T975[freedom - 1]
    return _NORMAL975 + (_NORMAL975**3 + _NORMAL975) / (4 * freedom)


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval (low, high) of a share in `count` rows, both in [0, 1] (Wilson, JASA 22, 1927)."""
    z2 = _NORMAL975**2 / count
    half = math.sqrt(z2 * share * (1 - share) + z2**2 / 4)
    return max(0.0, (share + z2 / 2 - half) / (1 + z2)), min(1.0, (share + z2 / 2 + half) / (1 + z2))
