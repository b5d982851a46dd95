"""A destroyed model is told from its evaluations, though all numbers are finite."""

import numpy as np
import pytest
import torch

from zorba_ray.artifacts import Eval
from zorba_ray.experiment.evaluate import collapsed, divergence
from zorba_ray.models.evaluation import LogitSpread


def record(round: int, loss: float, spread: float | None = 1.0) -> Eval:
    return Eval(round=round, split="validation", loss=loss, spread=spread)


@pytest.mark.parametrize("pieces", [1, 3, 40])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_the_spread_is_that_of_all_items_at_once(pieces: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    logits += shift * torch.randn(40, 1, generator=generator, dtype=torch.float64)  # a shift of an item's logits
    spread = LogitSpread()
    for part in logits.chunk(pieces):
        spread.add(part)
    plain = logits.numpy() - logits.numpy().mean(axis=1, keepdims=True)
    assert spread.value() == pytest.approx(np.std(plain, axis=0).mean(), rel=1e-9)


def test_the_spread_of_logits_that_are_the_same_for_all_items_is_nothing() -> None:
    spread = LogitSpread()
    spread.add(torch.tensor([[1.0, 2.0, 3.0]]).repeat(10, 1) + torch.arange(10.0).unsqueeze(1))
    assert spread.value() == 0


def test_logits_that_no_longer_depend_on_the_row() -> None:
    start = record(0, 1.4)
    assert divergence([start, record(10, 0.7, 0.0101)]) is None
    text = divergence([start, record(10, 0.9), record(20, 0.7, 0.0099)])
    assert text is not None
    assert text.startswith("round 20: the logits no longer depend on the row")
    assert "0.0099, at the start 1 " in text
    assert collapsed(record(1, 1.0, 0.0), start)


def test_a_loss_above_the_start_at_three_evaluations_in_a_row() -> None:
    start = record(0, 1.4)
    high, low = [record(n, 2.5) for n in (10, 20, 30)], record(15, 2.3)
    assert divergence([start, *high[:2]]) is None
    assert divergence([start, high[0], low, *high[1:]]) is None
    text = divergence([start, low, *high])
    assert text is not None
    assert text.startswith("round 30: the validation loss is more than 1 above the start's 1.4000")
    assert "2.5000 after round 10" in text
    assert divergence([start, *high, record(40, 1.0)]) is None  # only the last ones count


def test_what_is_no_divergence() -> None:
    assert divergence([]) is None
    assert divergence([record(0, 1.4, 0.0)]) is None
    assert divergence([record(0, 1.4, 0.0), record(1, 1.4, 0.0)]) is None  # it was so from the start
    assert divergence([record(0, 1.4, None), record(1, 1.3, None)]) is None  # records of an earlier version
    assert divergence([record(10, 1.4), record(20, 9.0, 0.0)]) is None  # the start's record was lost
