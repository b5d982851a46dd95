"""Blocks that leave the accelerator: the same scalars and θ, bit for bit, and no more bytes than the placement says.

`apart` makes the accelerator's memory another than the host's, as on a GPU; without it host memory stands in.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tests.support.tiny_models import BLOCKS, KINDS, tiny_batch, tiny_task_model
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import MemoryConfig
from zorba_ray.directions import direction_backend
from zorba_ray.memory import Workload, client_memory
from zorba_ray.models import RESIDENT, STREAMED, Batch, HostStore, Placement, Scope, TaskModel
from zorba_ray.zo import Estimator, PendingCommits, RoundUpdate, UpdateRule, apply_rounds

NUMPY = direction_backend("numpy")
PLACEMENTS = [Placement(frozen, master) for frozen, master in itertools.product(("device", "host"), repeat=2)]
STORES = {"in host memory": HostStore(), "apart": HostStore(apart=True)}
ACTIVE = (frozenset({1, 3}), frozenset({4}), frozenset({0, 1, 2, 3, 4}))
"""Of three clients: a frozen block between active ones, a long prefix, and nothing frozen."""


def rule_of(scope: Scope = "all", rank: int = 0, seeds: str = "per_client", steps: int = 1) -> UpdateRule:
    return UpdateRule(7, seeds, "data", "rademacher", scope, 2, steps, (4, 5, 6), rank)  # type: ignore[arg-type]


def streamed_model(kind: str, rule: UpdateRule, store: HostStore) -> TaskModel:
    model = tiny_task_model(kind, rule.scope, rank=rule.rank, store=store)
    model.replica.commits = PendingCommits(rule, model.replica.manifest, NUMPY, NUMPY)
    return model


def scalars_of(
    model: TaskModel, rule: UpdateRule, number: int, batches: Sequence[Batch], active: frozenset[int], client: int = 0
) -> np.ndarray:
    """float32 [K, P] of one client in a round."""
    everybody = ActiveSets.of_sets([active] * len(ACTIVE), BLOCKS)
    return Estimator(model, NUMPY, rule, 0.02, 0.01).round(number, everybody, {client: batches})[client][0]


def ask(model: TaskModel, kind: str, rule: UpdateRule, number: int, placements: Sequence[Placement]) -> np.ndarray:
    """Scalars [3, K, P] of three clients in a round, each placed as said."""
    found = []
    for client, active in enumerate(ACTIVE):
        batches = [tiny_batch(kind, 3, 6, seed=10 * number + client + 100 * step) for step in range(rule.local_steps)]
        if model.store is not None:
            model.use_placement(placements[client])
        found.append(scalars_of(model, rule, number, batches, active, client))
    return np.stack(found)


def update_of(number: int, scalars: np.ndarray) -> RoundUpdate:
    return RoundUpdate(number, 0.02, np.arange(len(ACTIVE)), scalars, ActiveSets.of_sets(ACTIVE, BLOCKS))


def check_equal(kind: str, rule: UpdateRule, store: HostStore, placements: Sequence[Placement]) -> None:
    """Three rounds and an evaluation; the first two commits reach what is read only in the third round together."""
    resident, streamed = tiny_task_model(kind, rule.scope, rank=rule.rank), streamed_model(kind, rule, store)
    replica, pending = resident.replica, streamed.replica.commits
    assert isinstance(pending, PendingCommits)
    begin = replica.digest()
    for number in (1, 2, 3):
        wanted = ask(resident, kind, rule, number, placements)
        if number != 2:  # asked or not, θ is a fold over commits
            found = ask(streamed, kind, rule, number, placements)
            assert found.tobytes() == wanted.tobytes()
        update = update_of(number, wanted)
        apply_rounds(NUMPY, rule, replica.manifest, replica.parameters, [update])
        pending.add([update])
    assert replica.digest() != begin
    batch = tiny_batch(kind, 4, 6, seed=99)
    assert streamed.evaluate([batch]) == resident.evaluate([batch])
    assert streamed.replica.digest() == replica.digest()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
@pytest.mark.parametrize("kind", ["opt", "gpt2", "llama", "bert"])
def test_every_placement_gives_the_same_bits(kind: str, placement: Placement, store: str) -> None:
    check_equal(kind, rule_of(), STORES[store], [placement] * 3)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("placement", [STREAMED, Placement("host", "device")], ids=str)
@pytest.mark.parametrize(
    "rule",
    [
        rule_of("matrices"),
        rule_of("bias_norm"),
        rule_of(rank=2),
        rule_of("matrices", rank=2),
        rule_of(seeds="shared"),
        rule_of(steps=3),
        rule_of(rank=2, steps=2),
    ],
    ids=["matrices", "bias_norm", "low rank", "low rank matrices", "shared", "local steps", "low rank local steps"],
)
def test_every_kind_of_direction_gives_the_same_bits(rule: UpdateRule, placement: Placement, store: str) -> None:
    check_equal("gpt2", rule, STORES[store], [placement] * 3)


@pytest.mark.parametrize("store", STORES)
def test_clients_of_one_replica_may_be_placed_differently(store: str) -> None:
    check_equal("llama", rule_of(), STORES[store], [RESIDENT, STREAMED, Placement("device", "host")])


@pytest.mark.parametrize("scope", ["all", "matrices", "bias_norm"])
@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
@pytest.mark.parametrize("store", STORES)
def test_what_is_held_is_what_the_memory_model_counts(placement: Placement, scope: Scope, store: str) -> None:
    """Whenever a leaf runs, frozen + active + buffers + scratch are the model's bytes, to the byte."""
    check_held(placement, scope, STORES[store])


@pytest.mark.parametrize("scope", ["all", "bias_norm"])
@pytest.mark.parametrize(
    "placement", [Placement("device", "host", "nf4"), Placement("host", "host", "int8"), Placement(format="int8")]
)
def test_what_is_held_packed_is_what_the_memory_model_counts(placement: Placement, scope: Scope) -> None:
    check_held(placement, scope, HostStore(apart=True, packs=True))


def test_low_rank_directions_need_no_copy_of_a_matrix() -> None:
    model = streamed_model("opt", rule_of(rank=2), HostStore(apart=True))
    norms = 2 * 32 * 4
    assert model.held_bytes()["scratch"] == norms, "weight and bias of a norm are perturbed into a copy"


def check_held(placement: Placement, scope: Scope, store: HostStore) -> None:
    rule = rule_of(scope)
    model = streamed_model("opt", rule, store)
    settings = MemoryConfig(
        frozen=placement.frozen, master=placement.master, frozen_format=placement.format, compute_dtype="fp32"
    )
    modelled = client_memory(model.replica.manifest, settings, scope, Workload(3, 6, 32, 3, 1))
    active = frozenset({1, 3})
    seen = watch_bytes(model)
    model.use_placement(placement)
    scalars_of(model, rule, 1, [tiny_batch("opt", 3, 6)], active)
    resident = modelled.parts["frozen"] + sum(int(modelled.active_extra[block]) for block in active)
    assert {held["frozen"] + held["active"] for held in seen} == {resident}
    assert {held["stream buffers"] for held in seen if held["stream buffers"]} <= {modelled.parts["stream buffers"]}
    assert seen[-1]["stream buffers"] == modelled.parts["stream buffers"]
    assert {held["scratch"] for held in seen} == {modelled.parts["scratch"]}


def watch_bytes(model: TaskModel) -> list[dict[str, int]]:
    """What is held whenever a leaf of a block is about to compute."""
    seen: list[dict[str, int]] = []
    for block in model.loaded.blocks:
        for leaf in block.modules():
            if next(leaf.children(), None) is None:
                leaf.register_forward_pre_hook(lambda *_: seen.append(model.held_bytes()))
    return seen


@pytest.mark.parametrize(("active", "visits"), [(3, 4), (0, 8)])
def test_a_forward_pair_visits_a_streamed_block_once_and_the_prefix_once_per_batch(active: int, visits: int) -> None:
    """Two directions, 5 blocks. Active {3}: blocks 0, 1, 2 once for the batch, block 4 once; the second direction finds
    it in its buffer. Active {0}: 4 visits each; blocks 3 and 4 are still in the buffers, 1 and 2 are not."""
    model = streamed_model("opt", rule_of(), HostStore())
    model.use_placement(STREAMED)
    scalars_of(model, rule_of(), 1, [tiny_batch("opt", 3, 6)], frozenset({active}))
    assert model._offload is not None
    assert model._offload.visits == visits


def test_pending_commits_reach_a_block_when_it_is_read() -> None:
    """Two commits are in no block until one is asked for; a digest brings all."""
    rule = rule_of()
    model, other = streamed_model("opt", rule, HostStore()), tiny_task_model("opt")
    replica, pending = model.replica, model.replica.commits
    assert isinstance(pending, PendingCommits)
    updates = [update_of(number, ask(other, "opt", rule, number, [RESIDENT] * 3)) for number in (1, 2)]
    before = replica.theta.clone()
    pending.add(updates[:1])
    pending.add(updates[1:])
    assert torch.equal(replica.theta, before)
    replica.sync(3)
    moved = {entry.block for entry in replica.manifest.tensors if replica.parameters[entry.name].ne(
        before[entry.offset : entry.offset + entry.numel]).any()}  # fmt: skip
    assert moved == {3}
    apply_rounds(NUMPY, rule, other.replica.manifest, other.replica.parameters, updates)
    assert replica.digest() == other.replica.digest()


def test_a_replica_written_from_elsewhere_leaves_no_stale_copy() -> None:
    """As a snapshot does: what the accelerator holds is copied anew, and later commits go on top."""
    rule = rule_of()
    for placement in PLACEMENTS:
        model, other = streamed_model("opt", rule, HostStore(apart=True)), tiny_task_model("opt")
        pending = model.replica.commits
        assert isinstance(pending, PendingCommits)
        ask(model, "opt", rule, 1, [placement] * 3)
        for own in (model.replica, other.replica):
            for entry in own.manifest.tensors:
                if entry.block < BLOCKS:  # no run moves what is outside the blocks, which came to the accelerator once
                    own.parameters[entry.name].mul_(1.25)
        pending.jump()
        model.replica.overwritten()
        update = update_of(1, ask(other, "opt", rule, 1, [RESIDENT] * 3))
        pending.add([update])
        apply_rounds(NUMPY, rule, other.replica.manifest, other.replica.parameters, [update])
        wanted = ask(other, "opt", rule, 2, [RESIDENT] * 3)
        assert ask(model, "opt", rule, 2, [placement] * 3).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_in_16_bits_every_placement_gives_the_same_scalars(kind: str) -> None:
    """A cast copy and an fp32 master round to the same weights (rng.md); near to what fp32 gives."""
    rule, store = rule_of(), HostStore(torch.bfloat16, apart=True)
    found = [ask(streamed_model(kind, rule, store), kind, rule, 1, [placement] * 3) for placement in PLACEMENTS]
    assert all(own.tobytes() == found[0].tobytes() for own in found)
    plain = tiny_task_model(kind)
    batch = tiny_batch(kind, 4, 6)
    assert streamed_model(kind, rule, store).evaluate([batch]).loss == pytest.approx(
        plain.evaluate([batch]).loss, rel=0.05
    )


def test_in_16_bits_low_rank_and_local_steps_agree_between_placements() -> None:
    store = HostStore(torch.bfloat16, apart=True)
    for rule in (rule_of(rank=2), rule_of(steps=2), rule_of("bias_norm"), rule_of("matrices")):
        found = [ask(streamed_model("opt", rule, store), "opt", rule, 1, [own] * 3) for own in PLACEMENTS]
        assert all(own.tobytes() == found[0].tobytes() for own in found)
        assert np.isfinite(found[0]).all()
        assert found[0].any()
