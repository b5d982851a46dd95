"""The rates that are tried, which is suggested, and that every rate begins at θ0."""

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.cli.lr import print_ladder
from zorba_ray.cli.terminal import Console
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.lr_finder import Ladder, Step, find_rate, next_rate
from zorba_ray.experiment.rounds_at_start import ROUNDS, RoundsAtStart


def searched(loss: Callable[[float], float | None], begin: float) -> dict[float, float | None]:
    """What is tried of a model whose loss after the steps is `loss` of the rate, and 1 at the start."""
    tried: dict[float, float | None] = {}
    following: float | None = begin
    while following is not None:
        tried[following] = loss(following)
        following = next_rate(tried, 1.0)
    return tried


def bowl(best: float) -> Callable[[float], float | None]:
    """A loss that is lowest at `best`; beyond a hundred times that nothing is left."""
    return lambda rate: None if rate > 100 * best else 1 - rate / best + 0.5 * (rate / best) ** 2


@pytest.mark.parametrize("begin", [1e-5, 1e-3, 0.02, 1.0, 100.0])
def test_the_lowest_point_is_found_from_everywhere(begin: float) -> None:
    tried = searched(bowl(0.02), begin)
    losses = {rate: loss for rate, loss in tried.items() if loss is not None}
    assert min(losses, key=losses.__getitem__) == pytest.approx(0.02, rel=0.3)
    assert len(tried) <= 14


def test_rates_that_change_nothing_are_left_behind() -> None:
    """The last digits of a loss that does not change are no lowest point."""
    tried = searched(lambda rate: 1.0 - 1e-9 * math.sin(1e9 * rate) if rate < 1e-5 else bowl(0.02)(rate), 1e-7)
    assert max(tried) > 0.02


def test_a_search_ends_where_every_rate_raises_the_loss() -> None:
    tried = searched(lambda rate: 1.0 + rate, 1.0)
    assert len(tried) <= 14


def ladder(*changes: float | None) -> Ladder:
    """Rates 1, 2, 4, …"""
    steps = (Step(2.0**place, None if change is None else 1.0 + change, change) for place, change in enumerate(changes))
    return Ladder(tuple(steps), 1.0, 4, 16, 64, 32)


@pytest.mark.parametrize(
    ("changes", "rate"),
    [((-0.1, -0.3, -0.2, 0.3), 2.0), ((-0.1, -0.2, None), 2.0), ((0.1, None), None), ((-1e-6, 0.1), None)],
)
def test_a_share_of_the_rate_that_lowers_the_loss_most_is_suggested(
    changes: tuple[float | None, ...], rate: float | None
) -> None:
    assert ladder(*changes).lowest == rate
    assert ladder(*changes).suggested == (None if rate is None else rate / 2), "√(8/32)"


def test_short_runs_take_the_rate_as_it_is() -> None:
    assert replace(ladder(-0.1, -0.3, 0.2), rounds=8).suggested == 2.0
    assert replace(ladder(-0.1, -0.3, 0.2), rounds=3).suggested == 2.0
    assert replace(ladder(-0.1, -0.3, 0.2), rounds=800).suggested == 0.2


def test_every_rate_begins_at_the_start() -> None:
    """A rate's figures do not hang on the others; one that is far too large is told and leaves no trace."""
    config = tiny_config("zo.lr=0.01")
    together = find_rate(config, [1e30, 0.01, 0.003])
    alone = find_rate(config, [0.01])
    assert [step.lr for step in together.steps] == [0.003, 0.01, 1e30]
    assert together.steps[1] == alone.steps[0]
    assert together.start_loss == alone.start_loss
    assert together.steps[2].change is None or together.steps[2].change > 0
    assert together.passes == ROUNDS * 4 * config.passes_per_round


@pytest.mark.parametrize("setting", ["zo.local_steps=1", "zo.local_steps=3", "federation.seeds=shared"])
def test_the_first_step_is_that_of_a_run(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One round at start moves θ as round 1 of a run at a rate at which local steps stand still does."""
    monkeypatch.setattr("zorba_ray.experiment.rounds_at_start.ROUNDS", 1)
    config = tiny_config(setting, "zo.lr=1e-7", "zo.schedule=constant", "rounds=1", "eval.every=1")
    rounds = RoundsAtStart(prepare(config))
    after = rounds.after(1e-7)
    assert after is not None
    summary = run_here(config, tmp_path / "run")
    assert after.loss == pytest.approx(summary["evaluations"]["final"]["loss"], abs=2e-7)
    assert after.loss != rounds.start.loss


def test_nothing_of_the_rounds_is_left() -> None:
    setup = prepare(tiny_config())
    before = setup.model.replica.digest()
    rounds = RoundsAtStart(setup)
    assert setup.model.replica.digest() == before
    first, far = rounds.after(0.01), rounds.after(1e30)
    assert far is None
    assert setup.model.replica.digest() == before
    again = rounds.after(0.01)
    assert first is not None
    assert again is not None
    assert first.loss == again.loss


def test_a_rate_that_blows_up_is_marked() -> None:
    stream = io.StringIO()
    print_ladder(Console(file=stream, width=80), ladder(-0.1, 0.1, 0.7, None))
    text = stream.getvalue()
    assert [
        word in text for word in ("rises", "blows up", "destroys the model", "use zo.lr=0.5 for a run of 32 rounds")
    ] == [True] * 4
    assert text.count("◀") == 1
    assert max(map(len, text.splitlines())) <= 80


def test_no_rate_is_suggested_where_all_raise_the_loss() -> None:
    stream = io.StringIO()
    print_ladder(Console(file=stream, width=80), ladder(0.1, 0.2))
    assert "no rate lowers the loss" in stream.getvalue()


def refused(config: ExperimentConfig, *rates: float) -> str:
    with pytest.raises(ConfigError) as caught:
        find_rate(config, rates or None)
    return str(caught.value)


def test_what_cannot_be_tried_is_refused() -> None:
    assert "must be positive" in refused(tiny_config(), 0.0)
    assert "method=fedavg" in refused(tiny_config("method=fedavg"))
