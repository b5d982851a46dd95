"""The ladder of rates: what is suggested, and that every rate begins at θ0."""

import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.lr_finder import Step, find_rate, suggest


def ladder(*changes: float | None) -> list[Step]:
    """Rates 1, 2, 4, …"""
    return [Step(2.0**place, None if change is None else 1.0 + change, change) for place, change in enumerate(changes)]


@pytest.mark.parametrize(
    ("changes", "edge", "rate"),
    [
        ((-0.1, -0.2, -0.3, -0.4, 0.3), 16.0, 4.0),
        ((-0.1, 0.1, -0.2, None), 8.0, 1.0),
        ((-0.1, -0.2, -0.15), None, 2.0),
        ((0.1, None), 1.0, None),
    ],
)
def test_the_best_rate_well_below_the_edge_is_suggested(
    changes: tuple[float | None, ...], edge: float | None, rate: float | None
) -> None:
    """The edge is after the last rate that lowers the loss."""
    assert suggest(ladder(*changes)) == (edge, rate)


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


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        find_rate(tiny_config(), [0.0])
