"""ε and δ of Gaussian noise, in closed form.

A client's report is a vector of norm at most C, with noise of standard deviation z C on each number. Two data sets of
the client change the vector by at most 2 C. After k reports the noise hides a change of 2 C √k / (z C): this ratio is

    m = 2 √k / z.

Reports that depend on earlier ones compose as if they were one vector (Dong, Roth, Su: Gaussian Differential Privacy,
JRSS B 2022, corollary 3.3). The mechanism is then (ε, δ)-private if and only if

    δ ≥ Φ(m/2 − ε/m) − e^ε Φ(−m/2 − ε/m)

(Balle, Wang: Improving the Gaussian Mechanism for Differential Privacy, ICML 2018, theorem 8). This is exact: no
numerical accountant is needed. Opacus' PRV accountant gives the same ε within its own error; a test compares them.
"""

import math
from collections.abc import Callable

SENSITIVITY = 2.0
"""How far two reports of a client can be apart, in units of the clip, whatever its data are."""
LEAST_MULTIPLIER, MOST_MULTIPLIER = 1e-3, 500.0
"""Noise multipliers for which a noisy report is exact in fp32 (`GaussianMechanism`)."""


def ratio(multiplier: float, reports: int) -> float:
    """m = 2 √k / z."""
    return SENSITIVITY * math.sqrt(reports) / multiplier


def delta_of(m: float, epsilon: float) -> float:
    """The smallest δ for which noise with ratio `m` is (ε, δ)-private."""
    if m == 0:
        return 0.0
    from scipy.special import log_ndtr, ndtr  # half a second, and every command reads settings through this package

    second = math.exp(min(0.0, epsilon + float(log_ndtr(-m / 2 - epsilon / m))))
    return max(0.0, float(ndtr(m / 2 - epsilon / m)) - second)


def epsilon_of(multiplier: float, reports: int, delta: float) -> float:
    """The smallest ε for which `reports` reports are (ε, δ)-private, rounded up in the tenth digit.

    Args:
        multiplier: z, the standard deviation of the noise over the clip.
    """
    m = ratio(multiplier, reports)
    if delta_of(m, 0.0) <= delta:
        return 0.0
    high = 1.0
    while delta_of(m, high) > delta:
        high *= 2
    return _least(lambda epsilon: delta_of(m, epsilon) <= delta, 0.0, high)


def multiplier_for(epsilon: float, delta: float, reports: int) -> float:
    """The smallest noise multiplier for which `reports` reports are (ε, δ)-private, rounded up to four digits, so that
    it is the same on every machine.

    Raises:
        ValueError: it is above MOST_MULTIPLIER.
    """

    def enough(multiplier: float) -> bool:
        return delta_of(ratio(multiplier, reports), epsilon) <= delta

    if not enough(MOST_MULTIPLIER):
        reached = epsilon_of(MOST_MULTIPLIER, reports, delta)
        raise ValueError(
            f"privacy.target_epsilon={epsilon:g} with privacy.delta={delta:g}: a client reports {reports:,} times, and "
            f"the largest noise multiplier, {MOST_MULTIPLIER:g}, reaches ε = {reached:.3g}; set a larger target, fewer "
            "rounds, or fewer federation.participants"
        )
    if enough(LEAST_MULTIPLIER):
        return LEAST_MULTIPLIER
    exact = _least(enough, LEAST_MULTIPLIER, MOST_MULTIPLIER)
    step = 10.0 ** (math.floor(math.log10(exact)) - 3)
    return float(f"{math.ceil(exact / step * (1 - 1e-9)) * step:.4g}")


def _least(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest value between `low` and `high` from which on `holds`, up to ten digits; it holds at the result."""
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
