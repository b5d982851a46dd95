"""Intervals, paired differences, passes to a loss: against tables and by hand."""

import math

import pytest

from zorba_ray.contest.files import never_text
from zorba_ray.contest.records import Estimate, Reached
from zorba_ray.contest.results import difference, estimate, first_at
from zorba_ray.contest.student import mean_and_half, t_quantile
from zorba_ray.contest.texts import interval, loss, points, signed


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [
        # R 4: qt(0.975, freedom)
        (1, 12.70620473617471),
        (2, 4.302652729749464),
        (3, 3.182446305283710),
        (4, 2.776445105197793),
        (5, 2.570581835636314),
        (9, 2.262157162798205),
        (10, 2.228138851986274),
        (29, 2.045229642132703),
        (100, 1.983971518523552),
    ],
)
def test_quantiles(freedom: int, expected: float) -> None:
    assert t_quantile(freedom) == pytest.approx(expected, rel=1e-12)


def test_other_levels() -> None:
    """One degree of freedom is Cauchy: tan(π level / 2). Two: level √2 / √(1 − level²)."""
    assert t_quantile(1, 0.5) == pytest.approx(1.0, rel=1e-12)
    assert t_quantile(1, 0.9) == pytest.approx(math.tan(math.pi * 0.45), rel=1e-12)
    assert t_quantile(2, 0.8) == pytest.approx(0.8 * math.sqrt(2) / math.sqrt(1 - 0.64), rel=1e-12)


def test_mean_and_half() -> None:
    """1, 2, 3: s = 1, half = 4.3027 / √3."""
    assert mean_and_half([1.0, 2.0, 3.0]) == (2.0, pytest.approx(4.302652729749464 / math.sqrt(3), rel=1e-12))
    assert mean_and_half([5.0]) == (5.0, None)
    assert mean_and_half([2.0, 2.0]) == (2.0, 0.0)
    with pytest.raises(ValueError, match="nothing"):
        mean_and_half([])


def test_paired_differences() -> None:
    """0.1 on every seed has no spread, however far apart the seeds are; a seed that one lacks is left out."""
    one = estimate({1: 1.1, 2: 5.1, 3: 9.1, 4: 7.0})
    other = estimate({1: 1.0, 2: 5.0, 3: 9.0})
    assert one is not None
    assert other is not None
    found = difference(one, other)
    assert found.values.keys() == {1, 2, 3}
    assert found.mean == pytest.approx(0.1)
    assert found.half == pytest.approx(0.0, abs=1e-12)
    assert found.apart
    assert difference(one, Estimate()) == Estimate()
    assert not Estimate(mean=1.0, half=2.0).apart
    assert not Estimate(mean=1.0).apart


def test_unknown_values_are_not_averaged() -> None:
    assert estimate({1: 1.0, 2: None}) is None
    assert estimate({1: 1.0, 2: math.nan}) is None
    assert estimate({}) is None


def test_rounds_to_a_loss() -> None:
    evals = [{"round": 0, "loss": 2.0}, {"round": 4, "loss": 1.0}, {"round": 8, "loss": 1.5}]
    assert [first_at(evals, target) for target in (2.0, 1.2, 1.0, 0.5)] == [0, 4, 4, None]
    assert never_text(Reached(target=1.0, rounds={1: 4, 2: 8})) == ""
    assert never_text(Reached(target=1.0, rounds={1: 4, 2: None})) == "never in 1 of 2"
    assert never_text(Reached(target=1.0, rounds={1: None, 2: None})) == "never"


def test_texts() -> None:
    assert interval(Estimate(mean=0.5, half=0.01), loss) == "0.5000 ± 0.0100"
    assert interval(Estimate(mean=0.5), loss) == "0.5000 ± –"
    assert interval(Estimate(mean=-0.5, half=0.01), signed) == "−0.5000 ± 0.0100"
    assert interval(Estimate(mean=0.012, half=0.001), points) == "+1.2 pt ± 0.1 pt"
    assert interval(Estimate(), loss) == interval(None, loss) == "–"
