"""η of a round."""

import itertools
import math

import pytest

from zorba_ray.zo import scheduled


def test_constant() -> None:
    assert [scheduled("constant", 0.5, t, 3) for t in (1, 2, 3)] == [0.5, 0.5, 0.5]


def test_linear_would_reach_zero_after_the_last_round() -> None:
    assert [scheduled("linear", 1.0, t, 4) for t in (1, 2, 3, 4)] == [1.0, 0.75, 0.5, 0.25]


def test_cosine() -> None:
    """½ (1 + cos π t) at t = 0, ¼, ½, ¾."""
    wanted = [1.0, 0.5 * (1 + math.sqrt(0.5)), 0.5, 0.5 * (1 - math.sqrt(0.5))]
    assert [scheduled("cosine", 2.0, t, 4) for t in (1, 2, 3, 4)] == pytest.approx([2 * v for v in wanted])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_falls_and_stays_positive(schedule: str) -> None:
    rates = [scheduled(schedule, 1e-3, t, 50) for t in range(1, 51)]  # type: ignore[arg-type]
    assert rates[0] == 1e-3
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert rates[-1] > 0


def test_a_run_of_one_round() -> None:
    assert {scheduled(s, 0.1, 1, 1) for s in ("constant", "linear", "cosine")} == {0.1}  # type: ignore[arg-type]
