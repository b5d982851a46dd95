"""Finding blocks, the manifest, and θ in its arena."""

import hashlib
from collections import OrderedDict

import pytest
import torch
import transformers
from torch import nn

from tests.support.tiny_models import BLOCKS, KINDS, tiny_loaded, tiny_network
from zorba_ray.directions import EMBEDDINGS, FINAL_NORM, HEAD, direction_backend
from zorba_ray.errors import Diverged, LedgerError, ModelError
from zorba_ray.formats import ALIGNMENT
from zorba_ray.models import Replica
from zorba_ray.models.blocks import find_blocks, model_manifest
from zorba_ray.models.manifest import build_manifest
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.replay import ReplicaState

LISTS = {
    "opt": "model.decoder.layers",
    "gpt2": "transformer.h",
    "llama": "model.layers",
    "qwen2": "model.layers",
    "bert": "encoder.layer",
    "roberta": "encoder.layer",
}

PINNED_DIGEST = "2ea40833ae41fe4acc62e907879b8f2e9f42d4c27ece5e31d79e2a3ba224a57c"


@pytest.mark.parametrize("kind", KINDS)
def test_the_block_list_is_found(kind: str) -> None:
    name, blocks = find_blocks(tiny_network(kind), kind)
    assert (name, len(blocks)) == (LISTS[kind], BLOCKS)


def test_no_list_of_blocks() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with pytest.raises(ModelError, match=r"model\.path=mine: no list of transformer blocks .*Sequential"):
        find_blocks(network, "mine")


def test_two_lists_of_blocks() -> None:
    config = transformers.T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_decoder_layers=3, num_heads=2
    )
    with pytest.raises(ModelError, match=r"model\.path=t5: several lists of blocks .*\(2\).*\(3\)"):
        find_blocks(transformers.T5Model(config), "t5")


def test_blocks_that_share_parameters() -> None:
    block = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ModelError, match=r"model\.path=twice: blocks of layers share parameters"):
        find_blocks(nn.ModuleDict({"layers": nn.ModuleList([block, block])}), "twice")


def test_a_list_inside_a_block_is_not_a_second_list() -> None:
    """Experts of a mixture, say; and a list of plain layers outside is no list of blocks."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    assert find_blocks(nn.ModuleDict({"layers": nn.ModuleList([Block(), Block()])}), "moe")[0] == "layers"


@pytest.mark.parametrize("kind", KINDS)
def test_manifest_names_every_parameter_once(kind: str) -> None:
    network = tiny_network(kind)
    manifest = model_manifest(network, LISTS[kind], BLOCKS)
    assert sorted(e.name for e in manifest.tensors) == sorted(name for name, _ in network.named_parameters())
    assert manifest.numel == sum(parameter.numel() for parameter in network.parameters())
    for block in range(BLOCKS):
        own = manifest.by_block[block]
        assert [entry.name for entry in own] == sorted(entry.name for entry in own)
        assert all(entry.name.startswith(f"{LISTS[kind]}.{block}.") for entry in own)
    for entries in manifest.by_block.values():
        assert [entry.slot for entry in entries] == list(range(len(entries)))


def test_manifest_places_the_stem() -> None:
    """Embeddings, final norm and head of a decoder without tied weights."""
    manifest = model_manifest(tiny_network("llama"), LISTS["llama"], BLOCKS)
    stem = {block: [e.name for e in manifest.by_block[block]] for block in (EMBEDDINGS, FINAL_NORM, HEAD)}
    assert stem == {
        EMBEDDINGS: ["model.embed_tokens.weight"], FINAL_NORM: ["model.norm.weight"], HEAD: ["lm_head.weight"],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["opt", "gpt2", "qwen2"])
def test_tied_weights_have_one_entry_and_stay_tied(kind: str) -> None:
    loaded = tiny_loaded(kind)
    replica = Replica(loaded)
    network = loaded.network
    assert not any("lm_head" in entry.name for entry in replica.manifest.tensors)
    weight = network.get_output_embeddings().weight
    assert weight.data_ptr() == network.get_input_embeddings().weight.data_ptr()
    low = replica.theta.data_ptr()
    assert low <= weight.data_ptr() < low + 4 * replica.theta.numel()


class Shuffled(nn.Module):
    """Two blocks whose parts are registered in the given order."""

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        parts = {"fc": lambda: nn.Linear(3, 2), "attention": lambda: nn.Linear(3, 3), "norm": lambda: nn.LayerNorm(3)}

        def block() -> nn.Module:
            return nn.Sequential(OrderedDict((name, parts[name]()) for name in order))

        outer = {"layers": nn.ModuleList([block(), block()]), "embed": nn.Embedding(5, 3), "norm": nn.LayerNorm(3)}
        for name in outer if order[0] == "fc" else reversed(outer):
            self.add_module(name, outer[name])


def test_manifest_does_not_depend_on_the_order_of_registration() -> None:
    """Slots follow names. The digest is pinned: ledgers on record refer to it."""
    first, second = (
        model_manifest(Shuffled(order), "layers", 2)
        for order in (["fc", "attention", "norm"], ["norm", "attention", "fc"])
    )
    assert first == second
    listing = [[e.block, e.slot, e.name, list(e.shape)] for e in first.tensors]
    assert listing[:3] == [
        [0, 0, "layers.0.attention.bias", [3]], [0, 1, "layers.0.attention.weight", [3, 3]],
        [0, 2, "layers.0.fc.bias", [2]],
    ]  # fmt: skip
    assert first.digest == second.digest == PINNED_DIGEST


def test_digest_sees_names_and_shapes() -> None:
    shapes = {"a.0.w": (2, 3), "a.0.v": (3,)}
    base = build_manifest(shapes, dict.fromkeys(shapes, 0), 1)
    other = build_manifest({"a.0.w": (3, 2), "a.0.v": (3,)}, dict.fromkeys(shapes, 0), 1)
    renamed = build_manifest({"a.0.x": (2, 3), "a.0.v": (3,)}, {"a.0.x": 0, "a.0.v": 0}, 1)
    assert len({base.digest, other.digest, renamed.digest}) == 3


def test_scopes_partition_a_block() -> None:
    manifest = model_manifest(tiny_network("opt"), LISTS["opt"], BLOCKS)
    everything, matrices, small = (set(manifest.scoped(2, scope)) for scope in ("all", "matrices", "bias_norm"))
    assert everything == matrices | small
    assert not matrices & small
    assert {len(entry.shape) for entry in matrices} == {2}
    assert {len(entry.shape) for entry in small} == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_arena_is_aligned_and_holds_the_weights(kind: str) -> None:
    """Every tensor starts on a multiple of 64 bytes, none overlap, and the network computes with the arena's memory."""
    plain = tiny_network(kind)
    loaded = tiny_loaded(kind)
    replica = Replica(loaded)
    end = 0
    for entry in replica.manifest.tensors:
        view = replica.parameters[entry.name]
        assert view.data_ptr() % ALIGNMENT == 0
        assert entry.offset >= end
        end = entry.offset + entry.numel
        assert torch.equal(view.view(entry.shape), plain.get_parameter(entry.name))
        assert loaded.network.get_parameter(entry.name).data_ptr() == view.data_ptr()
    assert end <= replica.theta.numel()


def test_digest_of_weights_is_of_all_tensors_in_order() -> None:
    replica = Replica(tiny_loaded("gpt2"))
    own = hashlib.sha256()
    for entry in replica.manifest.tensors:
        own.update(replica.parameters[entry.name].numpy().astype("<f4").tobytes())
    assert replica.digest() == own.hexdigest()


def test_distance() -> None:
    """A 3-4-5 triangle in two tensors of two blocks; a tensor out of scope does not count."""
    replica = Replica(tiny_loaded("opt"))
    origin = replica.scoped_copy("matrices")
    assert replica.distance(origin) == 0.0
    name = "model.decoder.layers.{}.fc1.weight"
    replica.parameters[name.format(0)].zero_()
    replica.parameters[name.format(3)].zero_()
    origin[name.format(0)].zero_()[5] = 3.0
    origin[name.format(3)].zero_()[0] = -4.0
    replica.parameters["model.decoder.layers.0.fc1.bias"].add_(7.0)
    assert replica.distance(origin) == pytest.approx(5.0)
    replica.parameters[name.format(3)][1] = float("nan")
    with pytest.raises(Diverged, match=r"zo\.lr"):
        replica.distance(origin)


def test_other_weights_of_the_same_shape_are_refused() -> None:
    """A worker that finds other weights behind model.path must not answer: its scalars would be of another θ."""
    replica = Replica(tiny_loaded("opt", seed=1))
    other = Replica(tiny_loaded("opt", seed=2))
    header = LedgerHeader(
        1, "zdir v1", "zorba", other.digest(), replica.manifest.digest, "", "", "", 0, "per_client", "data",
        "rademacher", "all", 1, 1, (1,), replica.manifest.blocks, "dense", 0, "scalars", 0, 0.0,
    )  # fmt: skip
    with pytest.raises(LedgerError, match=r"the files at model\.path changed"):
        ReplicaState(replica, direction_backend("numpy"), header)
