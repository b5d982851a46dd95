"""ε and δ of Gaussian noise: known values, what must hold for all, and Opacus' PRV accountant."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.privacy import delta_of, epsilon_of, multiplier_for
from zorba_ray.privacy.gaussian import ratio

MULTIPLIERS = st.floats(0.05, 400)
REPORTS = st.integers(1, 5000)
DELTAS = st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3])


def test_known_values() -> None:
    """ε = 0 is the total variation of N(0, 1) and N(m, 1), 2 Φ(m/2) − 1. The published program of Balle and Wang gives
    σ = 3.730632 for ε = 1, δ = 1e-5 and sensitivity 1."""
    assert delta_of(1.0, 0.0) == pytest.approx(math.erf(0.5 / math.sqrt(2)), rel=1e-12)
    assert epsilon_of(2 * 3.730632, 1, 1e-5) == pytest.approx(1.0, rel=1e-5)
    assert epsilon_of(1.0, 0, 1e-5) == 0.0


def test_delta_is_that_of_two_normal_distributions() -> None:
    """max over events of P(S) − e^ε Q(S), summed on a fine grid."""
    x = np.linspace(-12, 14, 400_001)
    for m, epsilon in ((0.5, 0.3), (1.5, 2.0), (3.0, 1.0)):
        p, q = (np.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (m, 0.0))
        exact = float(np.maximum(p - math.exp(epsilon) * q, 0).sum() * (x[1] - x[0]))
        assert delta_of(m, epsilon) == pytest.approx(exact, rel=1e-6)


@given(MULTIPLIERS, REPORTS, DELTAS)
@settings(max_examples=60, deadline=None)
def test_epsilon_keeps_its_delta_and_grows_with_the_reports(z: float, reports: int, delta: float) -> None:
    epsilon = epsilon_of(z, reports, delta)
    assert delta_of(ratio(z, reports), epsilon) <= delta
    assert epsilon == 0 or delta_of(ratio(z, reports), 0.999 * epsilon - 1e-9) > delta
    assert epsilon <= epsilon_of(z, reports + 1, delta) * (1 + 1e-9)
    assert epsilon_of(2 * z, 4 * reports, delta) == pytest.approx(epsilon, rel=1e-6)


@given(st.floats(0.1, 50), REPORTS, DELTAS)
@settings(max_examples=60, deadline=None)
def test_a_target_is_kept_by_little_more_noise_than_is_needed(target: float, reports: int, delta: float) -> None:
    if epsilon_of(500, reports, delta) > target:
        with pytest.raises(ValueError, match="reaches ε"):
            multiplier_for(target, delta, reports)
        return
    z = multiplier_for(target, delta, reports)
    assert epsilon_of(z, reports, delta) <= target * (1 + 1e-9)
    assert z <= 1e-3 or epsilon_of(0.998 * z, reports, delta) > target
    assert float(f"{z:.4g}") == z


@pytest.mark.parametrize("target", [8.0, 4.0, 2.0])
def test_opacus_agrees_within_one_percent(target: float) -> None:
    """Its PRV accountant rounds ε up by at most .01."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accountants = pytest.importorskip("opacus.accountants")
    for reports in (1, 100, 1000):
        z = multiplier_for(target, 1e-5, reports)
        accountant = accountants.PRVAccountant()
        accountant.history = [(z / 2, 1.0, reports)]  # opacus' multiplier is over the sensitivity, which is 2 clips
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = accountant.get_epsilon(1e-5)
        assert epsilon_of(z, reports, 1e-5) == pytest.approx(theirs, rel=0.01)
