"""Logits corrected for a client's label shares: the numbers by hand, what they do to a loss, and to a federation's."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.tiny_models import ENCODERS, LABEL_WORDS, tiny_batch, tiny_task_model
from zorba_ray.config import ExperimentConfig
from zorba_ray.data import ClientRows, Shards, TokenTable
from zorba_ray.federation import ClientBatches
from zorba_ray.models import Batch
from zorba_ray.models.row_layout import inputs_of

LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
PARTS = [np.array([0, 1, 2]), np.array([3, 4, 5, 6])]


def shards() -> Shards:
    return Shards(TokenTable.from_lists([[5, 6]] * len(LABELS), LABELS), ClientRows.of(PARTS))


def shift_of(own: Shards, client: int, labels: int) -> np.ndarray:
    return own.label_shift(client, own.label_counts(labels))


def test_shares_by_hand() -> None:
    """Counts and one: the client has 3, 0, 0 of all 4, 2, 1."""
    own, all_ = (4 / 6, 1 / 6, 1 / 6), (5 / 10, 3 / 10, 2 / 10)
    wanted = [math.log(mine / theirs) for mine, theirs in zip(own, all_, strict=True)]
    assert shift_of(shards(), 0, 3).tolist() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", ["opt", *ENCODERS])
def test_the_loss_is_that_of_shifted_logits(kind: str) -> None:
    model, batch = tiny_task_model(kind), tiny_batch(kind, 5, 6)
    shift = torch.linspace(-2, 1, len(LABEL_WORDS))
    shifted = Batch(batch.ids_BT, batch.mask_BT, batch.labels_B, shift_C=shift)
    with torch.inference_mode():
        hidden = model._backbone.hidden(inputs_of(model.loaded, batch))
        logits = model.head.logits(hidden, batch)
    wanted = functional.cross_entropy(logits + shift, batch.labels_B)
    assert model.evaluate([shifted]).loss == pytest.approx(float(wanted), abs=1e-6)
    assert float(model.training_loss(shifted, {}).detach()) == pytest.approx(float(wanted), abs=1e-6)
    assert shifted.to("cpu").shift_C is not None


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_as_much_of_it_as_is_asked_for(share: float) -> None:
    config = ExperimentConfig.model_validate({"data": {"label_words": list(LABEL_WORDS), "label_shift": share}})
    batch = ClientBatches(config, shards(), 0, "cpu").batch(0, np.array([2, 0]))
    assert batch.labels_B.tolist() == [0, 0]
    if not share:
        assert batch.shift_C is None
    else:
        assert batch.shift_C is not None
        assert batch.shift_C.dtype == torch.float32
        assert batch.shift_C.tolist() == pytest.approx(share * shift_of(shards(), 0, len(LABEL_WORDS)), rel=1e-6)


def test_it_falls_in_a_line() -> None:
    """All of it in round 1, a quarter left in round 4 of 4."""
    data = {"label_words": list(LABEL_WORDS), "label_shift": 0.8, "label_shift_schedule": "linear"}
    batches = ClientBatches(ExperimentConfig.model_validate({"rounds": 4, "data": data}), shards(), 0, "cpu")
    whole = shift_of(shards(), 1, len(LABEL_WORDS))
    for round, share in ((1, 0.8), (2, 0.6), (4, 0.2)):
        found = batches.batch(1, np.array([0]), round).shift_C
        assert found is not None
        assert found.tolist() == pytest.approx(share * whole, rel=1e-6)
