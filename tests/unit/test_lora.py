"""Adapters in six architectures: merged, perturbed in a block, streamed, and no part of what a block's shape says."""

import pytest
import torch

from tests.support.pair_checks import check, checked_model
from tests.support.tiny_models import KINDS, LABEL_WORDS, tiny_batch, tiny_loaded
from zorba_ray.config import ModelConfig
from zorba_ray.directions import direction_backend
from zorba_ray.errors import ModelError
from zorba_ray.memory.activations import architecture
from zorba_ray.models import HostStore, LoadedModel, Perturbation, Replica, TaskModel
from zorba_ray.models.lora import add_lora, draw_lora, is_target, merge_lora

RANK, ALPHA = 3, 7.0


def adapted(kind: str, targets: str = "all") -> LoadedModel:
    """A tiny model with adapters on every linear layer; B is drawn too, or they would do nothing."""
    loaded = tiny_loaded(kind)
    parameters = add_lora(loaded.blocks, RANK, ALPHA, targets, kind)  # type: ignore[arg-type]
    for parameter in parameters:
        parameter.requires_grad_(False)
    draw_lora(loaded.blocks)
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters[1::2]:
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return loaded


def task(kind: str, store: HostStore | None = None) -> TaskModel:
    config = ModelConfig.model_validate({"temperature": 5.0})
    return TaskModel(
        adapted(kind), config, "{text}", LABEL_WORDS, "lora", direction_backend("numpy"), store=store
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_merged_into_the_weights_they_do_the_same(kind: str) -> None:
    loaded, plain = adapted(kind), tiny_loaded(kind)
    batch = tiny_batch(kind, 3, 8)
    inputs = {"input_ids": batch.ids_BT, "attention_mask": batch.mask_BT}
    with torch.no_grad():
        before = loaded.network(**inputs)[0]
        merge_lora(loaded.network)
        after = loaded.network(**inputs)[0]
        without = plain.network(**inputs)[0]
    assert {name for name, _ in loaded.network.named_parameters()} == {n for n, _ in plain.network.named_parameters()}
    torch.testing.assert_close(after, before, atol=2e-5, rtol=1e-5)
    assert float((before - without).abs().max()) > 0.05


@pytest.mark.parametrize("sixteen_bits", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_those_of_the_plain_model_with_moved_adapters(kind: str, sixteen_bits: bool) -> None:
    """Of the active blocks alone: the pair check looks at four sets."""
    verdict = check(checked_model(adapted(kind), "lora", sixteen_bits=sixteen_bits))
    assert verdict.largest <= (verdict.allowed if sixteen_bits else 1e-5)


@pytest.mark.parametrize("kind", ["opt", "gpt2", "bert"])
def test_streamed_blocks_bring_their_adapters(kind: str) -> None:
    batch, along = tiny_batch(kind, 4, 8), Perturbation(77, 0, 1e-2, "rademacher")
    losses = set()
    for store in (None, HostStore(torch.float32, apart=True), HostStore(torch.float32)):
        model = task(kind, store)
        losses.add(model.pair(model.prepare(batch, frozenset({0, 2})), along))
    assert len(losses) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_blocks_shape_is_read_off_its_own_layers(kind: str) -> None:
    """An adapter of a feed-forward layer is as wide as the layer: no gate beside it."""
    assert architecture(Replica(adapted(kind)).manifest, 32) == architecture(Replica(tiny_loaded(kind)).manifest, 32)


@pytest.mark.parametrize(
    ("kind", "targets", "layers"),
    [
        ("opt", "query", 1), ("opt", "query_value", 2), ("opt", "attention", 4), ("opt", "all", 6),
        ("llama", "query", 1), ("bert", "query_value", 2), ("gpt2", "query", 1), ("gpt2", "query_value", 1),
    ],
)  # fmt: skip
def test_targets(kind: str, targets: str, layers: int) -> None:
    """GPT-2 has one layer for query, key and value."""
    manifest = Replica(adapted(kind, targets)).manifest
    assert len(manifest.scoped(0, "lora")) == 2 * layers
    assert manifest.digest != Replica(tiny_loaded(kind)).manifest.digest


@pytest.mark.parametrize(
    ("name", "query", "value"),
    [
        ("attention.self.query", True, True), ("attention.q_lin.weight", True, True), ("attn.v", False, True),
        ("attention.query_key_value", True, True), ("self_attn.qkv_proj", True, True),
        ("self_attn.k_proj", False, False), ("attn.o.weight", False, False), ("mlp.fc_in", False, False),
    ],
)  # fmt: skip
def test_projections_by_name(name: str, query: bool, value: bool) -> None:
    assert (is_target(name, "query"), is_target(name, "query_value")) == (query, value or query)


def test_a_model_without_linear_layers_is_refused() -> None:
    blocks = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.Conv1d(2, 2, 1))])
    with pytest.raises(ModelError, match=r"targets=all: the blocks of here have no linear layers with such names$"):
        add_lora(blocks, 2, 2.0, "all", "here")
    with pytest.raises(ModelError, match=r"targets=query: .* with such names; try model.lora.targets=attention"):
        add_lora(blocks, 2, 2.0, "query", "here")
