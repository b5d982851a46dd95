"""The ladder of rates: what is suggested, and that every rate begins at θ0."""

import io

import pytest

from tests.support.tiny_run import tiny_config
from zorba_ray.cli.lr import print_ladder
from zorba_ray.cli.terminal import Console
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.lr_finder import Ladder, Step, find_rate, suggest


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
    assert together.suggested is None  # of two rounds


@pytest.mark.parametrize(
    ("rounds", "suggested", "suited", "rate", "why"),
    [
        (4, 0.3, 0.005, 0.005, "the smaller of the two"),
        (4, 0.001, 0.005, 0.001, "not too large by the curvature"),
        (4, 0.001, None, 0.001, "measured"),
        (2, None, 0.005, None, "2 rounds are too few"),
        (4, None, 0.005, None, "no rate lowers the loss"),
    ],
)
def test_one_of_two_rates_is_to_be_taken(
    rounds: int, suggested: float | None, suited: float | None, rate: float | None, why: str
) -> None:
    found = Ladder((), 1.0, None, suggested, rounds, 4, 16, suited, 12)
    assert found.advice[0] == rate
    assert why in found.advice[1]


def test_too_few_rounds_suggest_nothing_and_a_rate_that_blows_up_is_marked() -> None:
    stream = io.StringIO()
    steps = (Step(0.1, 0.9, -0.1), Step(0.2, 1.1, 0.1), Step(0.4, 1.7, 0.7), Step(0.8, None, None))
    print_ladder(Console(file=stream, width=80), Ladder(steps, 1.0, 0.2, None, 2, 4, 16, 0.01, 12))
    text = stream.getvalue()
    assert [word in text for word in ("rises", "blows up", "destroys the model", "no rate is suggested: 2")] == [
        True
    ] * 4
    assert "◀" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        find_rate(tiny_config(), [0.0])
