"""The cheap forward pair against two full forwards of copies with perturbed weights, in six architectures."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.tiny_models import (
    BLOCKS,
    DECODERS,
    KINDS,
    tiny_batch,
    tiny_loaded,
    tiny_network,
    tiny_task_model,
)
from zorba_ray.config import ModelConfig
from zorba_ray.directions import Distribution, direction_backend, tensor_stream
from zorba_ray.directions.reference import direction
from zorba_ray.models import Batch, Perturbation, Scope, TaskModel

SEED = 0xABCDEF
SCALE = 0.02
ACTIVE = {
    "all": frozenset(range(BLOCKS)),
    "last": frozenset({BLOCKS - 1}),
    "first": frozenset({0}),
    "middle": frozenset({2}),
    "spread": frozenset({1, 3}),
}
SHAPES = {"left": (3, 6, "left"), "right": (3, 6, "right"), "square": (6, 6, "right"), "one": (1, 6, "none")}
TOLERANCE = 1e-5


def two_full_forwards(
    kind: str, model: TaskModel, batch: Batch, active: frozenset[int], perturbation: Perturbation, scope: Scope
) -> torch.Tensor:
    """Last hidden states [2B, T, H] of the plain network with θ + μz, then with θ − μz."""
    halves = []
    for sign in (1.0, -1.0):
        network = tiny_network(kind)
        for block in active:
            for entry in model.replica.manifest.scoped(block, scope):
                stream = tensor_stream(
                    perturbation.seed, block, entry.slot, perturbation.direction, perturbation.distribution
                )
                z = torch.from_numpy(direction(stream, 0, entry.numel)).view(entry.shape)
                network.get_parameter(entry.name).add_(z * (sign * perturbation.scale))
        inputs: dict[str, torch.Tensor] = {"input_ids": batch.ids_BT, "attention_mask": batch.mask_BT}
        if kind in DECODERS and kind != "opt":  # OPT counts its positions from the mask itself
            inputs["position_ids"] = (batch.mask_BT.cumsum(1) - 1).clamp_min(0)
        backbone = network.base_model if kind in DECODERS else network
        halves.append(backbone(**inputs)[0])
    return torch.cat(halves)


def check(kind: str, active: frozenset[int], shape: str, scope: Scope, distribution: Distribution) -> None:
    model = tiny_task_model(kind, scope)
    batch = tiny_batch(kind, *SHAPES[shape])
    before = model.replica.digest()
    prepared = model.prepare(batch, active)
    real = torch.cat([batch.mask_BT, batch.mask_BT]).bool()
    for place in (0, 1):  # two directions share the prefix
        perturbation = Perturbation(SEED, place, SCALE, distribution)
        with torch.inference_mode():
            got = model._backbone.perturbed([prepared], perturbation)[0]
            wanted = two_full_forwards(kind, model, batch, active, perturbation, scope)
        assert (got - wanted)[real].abs().max() < TOLERANCE
        plus, minus = wanted.chunk(2)
        assert (plus - minus)[real[: len(batch)]].abs().max() > 1e-3, "nothing was perturbed"
    assert model.replica.digest() == before, "a forward pair wrote θ"
    assert all(
        model.loaded.network.get_parameter(n).data_ptr() == t.data_ptr() for n, t in model.replica.parameters.items()
    )


@pytest.mark.parametrize("active", ACTIVE)
@pytest.mark.parametrize("kind", KINDS)
def test_active_sets(kind: str, active: str) -> None:
    check(kind, ACTIVE[active], "right", "all", "rademacher")


@pytest.mark.parametrize("shape", ["left", "square", "one"])
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_padding(kind: str, shape: str) -> None:
    """B == T and B == 1 catch code that guesses which axis to double; padding on the left shifts positions."""
    check(kind, ACTIVE["spread"], shape, "all", "rademacher")


@pytest.mark.parametrize("scope", ["matrices", "bias_norm"])
@pytest.mark.parametrize("kind", KINDS)
def test_scopes_and_gaussian(kind: str, scope: Scope) -> None:
    check(kind, ACTIVE["spread"], "right", scope, "gaussian")


@pytest.mark.parametrize("kind", KINDS)
def test_who_runs_how_often_and_on_how_many_rows(kind: str) -> None:
    """Active {1, 3} of 5: block 0 once on [B] in the prefix, 2 and 4 once on [2B], 1 and 3 once per sign on [B]."""
    seen: list[tuple[int, int]] = []

    def spy(index: int, block: nn.Module) -> None:
        inner = block.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            seen.append((index, (args[0] if args else kwargs["hidden_states"]).shape[0]))
            return inner(*args, **kwargs)

        block.forward = forward  # type: ignore[method-assign]

    loaded = tiny_loaded(kind)
    for index, block in enumerate(loaded.blocks):
        spy(index, block)
    config = ModelConfig.model_validate({})
    model = TaskModel(loaded, config, "{text}", ("alpha", "beta", "gamma"), "all", direction_backend("numpy"))
    seen.clear()
    prepared = model.prepare(tiny_batch(kind, 3, 6), ACTIVE["spread"])
    assert seen == [(0, 3)]
    for place in range(3):
        seen.clear()
        model.pair(prepared, Perturbation(SEED, place, SCALE, "rademacher"))
        assert Counter(seen) == Counter({(1, 3): 2, (2, 6): 1, (3, 3): 2, (4, 6): 1})


def test_an_overlay_stands_for_theta_in_its_tensors() -> None:
    """As with local steps: the overlay's tensor is perturbed, all other tensors are θ's."""
    model, moved = tiny_task_model("opt"), tiny_task_model("opt")
    batch, active = tiny_batch("opt", 4, 7), frozenset({2})
    entry = next(e for e in model.replica.manifest.scoped(2, "all") if e.name.endswith("fc1.weight"))
    walked = model.replica.parameters[entry.name] * 1.5
    moved.replica.parameters[entry.name].copy_(walked)
    plain = Perturbation(SEED, 0, SCALE, "rademacher")
    overlaid = Perturbation(SEED, 0, SCALE, "rademacher", {(entry.block, entry.slot): walked.clone()})
    wanted = moved.pair(moved.prepare(batch, active), plain)
    prepared = model.prepare(batch, active)
    assert model.pair(prepared, overlaid) == wanted
    assert model.pair(prepared, plain) != wanted


def test_scratch_is_the_largest_leaf_in_scope() -> None:
    """OPT, H 32 and 48 wide: fc1 holds 48·32 + 48 elements, its bias starts on a multiple of 16; biases alone: 32 + 32
    of a norm."""
    assert tiny_task_model("opt").held_bytes()["scratch"] == 4 * (48 * 32 + 48)
    assert tiny_task_model("opt", "matrices").held_bytes()["scratch"] == 4 * 48 * 32
    assert tiny_task_model("opt", "bias_norm").held_bytes()["scratch"] == 4 * (32 + 32)
