"""Heads against the networks' own logits and losses, and against sums done by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.tiny_models import (
    DECODERS,
    ENCODERS,
    LABEL_TOKENS,
    LABEL_WORDS,
    TinyTokenizer,
    tiny_batch,
    tiny_loaded,
    tiny_network,
    tiny_task_model,
)
from zorba_ray.config import ModelConfig
from zorba_ray.directions import direction_backend
from zorba_ray.errors import ConfigError
from zorba_ray.models import Batch, Perturbation, TaskModel, loaded_model
from zorba_ray.models.heads import LabelPromptsHead, build_head, last_positions, mean_pool


def test_last_positions() -> None:
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0], [1, 0, 1, 0]])
    assert last_positions(mask).tolist() == [3, 1, 3, 1, 2]


def test_mean_pool_counts_real_tokens_only() -> None:
    hidden = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [100.0, 100.0]]])
    assert mean_pool(hidden, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 20.0]]


@pytest.mark.parametrize("side", ["left", "right", "none"])
@pytest.mark.parametrize("kind", DECODERS)
def test_label_words_are_a_slice_of_the_full_logits(kind: str, side: str) -> None:
    """Loss and hits equal those of the full vocabulary at the last real position, restricted to the label words."""
    model, network = tiny_task_model(kind), tiny_network(kind)
    batch = tiny_batch(kind, 4, 7, side)
    inputs = {"input_ids": batch.ids_BT, "attention_mask": batch.mask_BT}
    if kind != "opt":
        inputs["position_ids"] = (batch.mask_BT.cumsum(1) - 1).clamp_min(0)
    last = [int(row.nonzero()[-1]) for row in batch.mask_BT]
    logits = network(**inputs).logits[range(4), last][:, list(LABEL_TOKENS)]
    found = model.evaluate([batch])
    assert found.loss == pytest.approx(float(functional.cross_entropy(logits, batch.labels_B)), abs=1e-5)
    assert found.accuracy == float((logits.argmax(1) == batch.labels_B).float().mean())
    assert found.items == 4


@pytest.mark.parametrize("kind", DECODERS)
def test_padding_does_not_change_a_rows_loss(kind: str) -> None:
    """The same rows with more padding, on either side."""
    model = tiny_task_model(kind)
    pad = model.loaded.tokenizer.pad_token_id
    short = tiny_batch(kind, 3, 6, "none")
    wanted = model.evaluate([short]).loss
    for side in ((2, 0), (0, 2)):
        ids = functional.pad(short.ids_BT, side, value=pad)
        longer = Batch(ids, functional.pad(short.mask_BT, side, value=0), short.labels_B)
        assert model.evaluate([longer]).loss == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_label_prompts_by_hand(kind: str) -> None:
    """5 × cosine between the mean of the real tokens and the vector of each one-word prompt, in float64."""
    model, network = tiny_task_model(kind), tiny_network(kind)
    batch = tiny_batch(kind, 4, 7)
    ids = torch.tensor([[token] for token in LABEL_TOKENS])
    prompts = network(input_ids=ids, attention_mask=torch.ones_like(ids))[0][:, 0].double()
    total, right = 0.0, 0
    for tokens, mask, label in zip(batch.ids_BT, batch.mask_BT, batch.labels_B.tolist(), strict=True):
        real = int(mask.sum())
        # alone and unpadded: row by row, no mask is needed
        hidden = network(input_ids=tokens[None, :real], attention_mask=mask[None, :real])[0][0].double()
        text = hidden.mean(0)
        logits = [5.0 * float(text @ p) / (float(text.norm()) * float(p.norm())) for p in prompts]
        total += math.log(sum(math.exp(v) for v in logits)) - logits[label]
        right += max(range(3), key=logits.__getitem__) == label
    found = model.evaluate([batch])
    assert found.loss == pytest.approx(total / 4, abs=1e-5)
    assert found.accuracy == right / 4


def test_label_prompts_of_unequal_length_are_pooled_without_padding() -> None:
    loaded = tiny_loaded("bert")
    config = ModelConfig.model_validate({"head": "label_prompts", "temperature": 5.0})
    head = build_head(config, loaded, "", ("alpha", "beta good bad delta"))
    alone = build_head(config, loaded, "", ("alpha", "beta"))
    assert isinstance(head, LabelPromptsHead)
    assert isinstance(alone, LabelPromptsHead)
    assert torch.allclose(head._prompts_CH[0], alone._prompts_CH[0], atol=1e-6)
    assert not torch.allclose(head._prompts_CH[1], alone._prompts_CH[1], atol=1e-2)


def test_label_prompts_stay_those_of_the_first_weights() -> None:
    model = tiny_task_model("bert")
    head = model.head
    assert isinstance(head, LabelPromptsHead)
    before = head._prompts_CH.clone()
    model.replica.theta.mul_(1.5)
    model.evaluate([tiny_batch("bert", 2, 5)])
    assert torch.equal(head._prompts_CH, before)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", DECODERS)
def test_lm_loss_ignores_padding(kind: str, side: str) -> None:
    """Against the network's loss on each row alone, cut to its real tokens and weighted by what it counts."""
    model, network = tiny_task_model(kind, head="lm"), tiny_network(kind)
    batch = tiny_batch(kind, 4, 7, side)
    total, items = 0.0, 0
    for ids, mask in zip(batch.ids_BT, batch.mask_BT, strict=True):
        real = ids[mask.bool()][None]
        total += float(network(input_ids=real, labels=real).loss) * (real.shape[1] - 1)
        items += real.shape[1] - 1
    found = model.evaluate([batch])
    assert found.items == items
    assert found.loss == pytest.approx(total / items, abs=1e-5)


def test_evaluation_does_not_depend_on_how_rows_are_batched() -> None:
    model = tiny_task_model("opt")
    batch = tiny_batch("opt", 6, 7)
    rows = [Batch(batch.ids_BT[i : i + 1], batch.mask_BT[i : i + 1], batch.labels_B[i : i + 1]) for i in range(6)]
    whole, single = model.evaluate([batch]), model.evaluate(rows)
    assert single.loss == pytest.approx(whole.loss, abs=1e-5)
    assert (single.accuracy, single.items) == (whole.accuracy, whole.items)


def test_label_prompts_need_sentences() -> None:
    with pytest.raises(ConfigError, match=r"label_prompts needs one sentence per label"):
        build_head(ModelConfig.model_validate({"head": "label_prompts"}), tiny_loaded("bert"), "", ())


def test_a_decoder_with_label_prompts_keeps_no_cache() -> None:
    """A cache of keys would let the minus sign attend to the plus sign: at μ = 0 both signs must be the plain loss."""
    loaded = loaded_model(tiny_network("llama").base_model, TinyTokenizer(0), False, "llama")
    config = ModelConfig.model_validate({"head": "label_prompts"})
    model = TaskModel(loaded, config, "{text}", LABEL_WORDS, "all", direction_backend("numpy"))
    batch = tiny_batch("llama", 3, 8)
    prepared, plain = model.prepare(batch, frozenset({1, 2})), model.evaluate([batch]).loss
    for direction in (0, 1):
        assert model.pair(prepared, Perturbation(7, direction, 0.0, "rademacher")) == pytest.approx(
            (plain, plain), 1e-6
        )


@pytest.mark.parametrize(("kind", "head"), [("gpt2", "auto"), ("gpt2", "lm"), ("bert", "auto")])
def test_an_evaluation_tells_every_row_and_they_add_up(kind: str, head: str) -> None:
    """Each row's loss and label are those that it has alone; rows keep their order over batches."""
    model = tiny_task_model(kind, head=head)
    batches = [tiny_batch(kind, 4, 7, seed=1), tiny_batch(kind, 3, 6, seed=2)]
    found = model.evaluate(batches)
    alone = [
        model.evaluate([Batch(batch.ids_BT[row:end], batch.mask_BT[row:end], batch.labels_B[row:end])])
        for batch in batches
        for row, end in itertools.pairwise(range(len(batch) + 1))
    ]
    assert found.row_items.tolist() == [each.items for each in alone]
    assert found.row_losses / found.row_items == pytest.approx([each.loss for each in alone], abs=1e-5)
    assert found.row_losses.sum() / found.items == pytest.approx(found.loss, rel=1e-12)
    if head == "lm":
        assert found.row_labels is None
        assert len(set(found.row_items)) > 1
    else:
        assert found.row_labels is not None
        assert found.row_labels.tolist() == [int(each.row_labels[0]) for each in alone if each.row_labels is not None]
        assert np.bincount(found.row_labels, minlength=3).tolist() == list(found.predicted or ())
