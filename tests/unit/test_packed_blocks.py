"""Frozen blocks that are packed: the scalars of a model whose frozen matrices were rounded so, bit for bit."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.pair_checks import batches
from tests.support.tiny_models import LABEL_WORDS, tiny_batch, tiny_loaded, tiny_task_model
from tests.unit.test_offload import ACTIVE, NUMPY, PLACEMENTS, rule_of, scalars_of, streamed_model, update_of
from zorba_ray.config import ModelConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import Diverged, ModelError
from zorba_ray.formats import PackedFormat, round_trip, slab
from zorba_ray.models import RESIDENT, STREAMED, HostStore, Placement, Scope, TaskModel
from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.pair_check import PairPath, check_pairs
from zorba_ray.models.plain_loss import PlainLoss
from zorba_ray.zo import PendingCommits, UpdateRule, apply_rounds

FORMATS: tuple[PackedFormat, ...] = ("int8", "nf4")
STORES = {"in host memory": HostStore(packs=True), "apart": HostStore(apart=True, packs=True)}


def is_packed(entry: TensorEntry, active: frozenset[int], scope: Scope) -> bool:
    return entry.packable and not (entry.block in active and entry.in_scope(scope))


@contextlib.contextmanager
def rounded(model: TaskModel, active: frozenset[int], scope: Scope, format: PackedFormat) -> Iterator[None]:
    """Inside, θ of what a client does not perturb is as if it had been packed."""
    kept, manifest = model.replica.theta.clone(), model.replica.manifest
    for block in range(manifest.blocks):
        for entry in manifest.by_block[block]:
            if is_packed(entry, active, scope):
                theta = model.replica.parameters[entry.name]
                theta.copy_(round_trip(theta, entry.shape, format))
    yield
    model.replica.theta.copy_(kept)


def check_equal(kind: str, rule: UpdateRule, store: HostStore, placements: Sequence[Placement]) -> None:
    """Three rounds and an evaluation, which is at θ itself."""
    plain, packed = tiny_task_model(kind, rule.scope, rank=rule.rank), streamed_model(kind, rule, store)
    pending = packed.replica.commits
    assert isinstance(pending, PendingCommits)
    for number in (1, 2, 3):
        wanted = []
        for client, (active, placement) in enumerate(zip(ACTIVE, placements, strict=True)):
            rows = [tiny_batch(kind, 3, 6, seed=10 * number + client + 100 * step) for step in range(rule.local_steps)]
            with contextlib.ExitStack() as stack:
                if placement.format != "compute":
                    stack.enter_context(rounded(plain, active, rule.scope, placement.format))
                wanted.append(scalars_of(plain, rule, number, rows, active, client))
            if number != 2:
                packed.use_placement(placement)
                assert scalars_of(packed, rule, number, rows, active, client).tobytes() == wanted[-1].tobytes()
        update = update_of(number, np.stack(wanted))
        apply_rounds(NUMPY, rule, plain.replica.manifest, plain.replica.parameters, [update])
        pending.add([update])
    batch = tiny_batch(kind, 4, 6, seed=99)
    assert packed.evaluate([batch]) == plain.evaluate([batch])
    assert packed.replica.digest() == plain.replica.digest()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
@pytest.mark.parametrize("kind", ["gpt2", "bert", *(pytest.param(k, marks=pytest.mark.slow) for k in ("opt", "llama"))])
def test_scalars_are_those_of_rounded_frozen_blocks(
    kind: str, placement: Placement, format: PackedFormat, store: str
) -> None:
    check_equal(kind, rule_of(), STORES[store], [replace(placement, format=format)] * 3)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    "rule",
    [rule_of("matrices"), rule_of("bias_norm"), rule_of("attention"), rule_of(rank=2), rule_of(steps=3)],
    ids=["matrices", "bias_norm", "attention", "low rank", "local steps"],
)
def test_what_is_out_of_scope_is_packed_in_active_blocks_too(rule: UpdateRule, store: str) -> None:
    check_equal("gpt2", rule, STORES[store], [Placement(format="nf4")] * 3)


@pytest.mark.parametrize("store", STORES)
def test_clients_of_one_replica_may_have_different_formats(store: str) -> None:
    mixed = [Placement("host", "host", "nf4"), Placement(format="int8"), RESIDENT]
    check_equal("llama", rule_of(), STORES[store], mixed)


@pytest.mark.parametrize("format", FORMATS)
def test_a_packed_block_takes_the_bytes_of_its_slabs(format: PackedFormat) -> None:
    model = tiny_task_model("opt", store=STORES["apart"])
    model.use_placement(Placement("device", "host", format))
    active = frozenset({1, 3})
    model.prepare(tiny_batch("opt", 3, 6), active)
    manifest = model.replica.manifest
    frozen = [entry for block in range(manifest.blocks) if block not in active for entry in manifest.by_block[block]]
    wanted = sum(slab(format, e.shape).nbytes if e.packable else 4 * e.numel for e in frozen)
    assert model.held_bytes()["frozen"] == wanted


def checked(format: PackedFormat, model: TaskModel) -> None:
    config = ModelConfig.model_validate({"temperature": 5.0})
    plain = PlainLoss(model, config, "{text}", LABEL_WORDS, cpu_directions("auto"))
    model.use_placement(replace(STREAMED, format=format))
    check_pairs(model, plain, batches(model), PairPath(2, False, "rademacher", format))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("format", FORMATS)
def test_the_pair_check_judges_packed_blocks(format: PackedFormat, dtype: torch.dtype) -> None:
    config = ModelConfig.model_validate({"temperature": 5.0})
    store = HostStore(dtype, True, True)
    directions = cpu_directions("auto")
    checked(format, TaskModel(tiny_loaded("llama"), config, "{text}", LABEL_WORDS, "all", directions, store=store))


def test_the_pair_check_finds_a_matrix_that_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_task_model("llama", store=STORES["apart"])
    offload = model._offload
    assert offload is not None
    monkeypatch.setattr(type(offload), "_present", lambda self, entry, tensor, packed: None)  # θ stays in the modules
    with pytest.raises(ModelError, match="not the model's own"):
        checked("nf4", model)


def test_a_matrix_that_cannot_be_packed_is_named() -> None:
    """As after steps that were too large."""
    model = tiny_task_model("opt", store=STORES["apart"])
    entry = next(entry for entry in model.replica.manifest.by_block[2] if entry.packable)
    model.replica.parameters[entry.name][3] = torch.inf
    model.use_placement(Placement(format="nf4"))
    with pytest.raises(Diverged, match=rf"{entry.name} cannot be packed in nf4.*zo\.lr"):
        model.prepare(tiny_batch("opt", 3, 6), frozenset({0}))
