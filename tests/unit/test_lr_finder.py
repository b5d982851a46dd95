"""The ladder of rates: what is suggested, and that every rate begins at θ0."""

import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.lr_finder import Step, find_rate, first_beyond, rates_around, suggest


def ladder(*changes: float | None) -> list[Step]:
    """Rates 1, 2, 4, …"""
    return [Step(2.0**place, None if change is None else 1.0 + change, change) for place, change in enumerate(changes)]


def test_the_edge_is_after_the_last_rate_that_lowers_the_loss() -> None:
    assert first_beyond(ladder(-0.1, -0.2, 0.3, None)) == 4.0
    assert first_beyond(ladder(-0.1, 0.1, -0.2, None)) == 8.0
    assert first_beyond(ladder(-0.1, -0.2)) is None
    assert first_beyond(ladder(0.1, None)) == 1.0


def test_the_best_rate_well_below_the_edge_is_suggested() -> None:
    assert suggest(ladder(-0.1, -0.2, -0.3, -0.4, 0.3), 16.0) == 4.0
    assert suggest(ladder(-0.1, -0.2, -0.15), None) == 2.0
    assert suggest(ladder(0.1, None), 1.0) is None


def test_rates_go_in_even_steps_around_the_given_one() -> None:
    assert rates_around(0.03, 1.0) == pytest.approx([0.003, 0.00949, 0.03, 0.0949, 0.3], rel=1e-3)


def test_every_rate_begins_at_the_start() -> None:
    """A rate's figures do not hang on the others; one that is far too large is told and leaves no trace."""
    config = tiny_config("zo.lr=0.01")
    together = find_rate(config, [1e30, 0.01, 0.003], rounds=2)
    alone = find_rate(config, [0.01], rounds=2)
    assert [step.lr for step in together.steps] == [0.003, 0.01, 1e30]
    assert together.steps[1] == alone.steps[0]
    assert together.start_loss == alone.start_loss
    assert together.steps[2].change is None or together.steps[2].change > 0
    assert together.forward_pairs >= 2 * 2 * 4


@pytest.mark.parametrize("rates", [[0.0], []])
def test_rates_that_are_none_are_refused(rates: list[float]) -> None:
    with pytest.raises(ConfigError, match="all positive"):
        find_rate(tiny_config(), rates)
