"""The count of live tensors, and the formula against it."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.pytorch_utils import Conv1D

from tests.support.task_data import REWARD
from tests.support.tiny_models import tiny_loaded
from tests.support.tiny_run import tiny_config
from zorba_ray.config import LocalStep, ModelConfig, method_names
from zorba_ray.experiment.build import prepare
from zorba_ray.formats import PackedFormat, pack_into, slab, unpack_into
from zorba_ray.memory import Workload, fleet_memory, packed_layers, resident_everywhere, table
from zorba_ray.memory.count import counted
from zorba_ray.memory.footprint import Footprint
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory, zorba_footprint
from zorba_ray.memory.paired_client import PairedStep
from zorba_ray.memory.storage_counter import HOST, StorageCounter
from zorba_ray.memory.table import ModelProfile, ProfiledClient, clients, model_profile
from zorba_ray.models import STREAMED, Placement, Replica, Scope

TINY: dict[str, dict[str, Any]] = {
    "opt": {
        "model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": 32, "word_embed_proj_dim": 32,
        "ffn_dim": 48, "num_hidden_layers": 3,
    },
    "llama": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 96,
        "num_key_value_heads": 2, "num_hidden_layers": 3, "tie_word_embeddings": False,
    },
    "bert": {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 32, "intermediate_size": 128,
        "num_hidden_layers": 3,
    },
}  # fmt: skip
_COMMON = {
    "vocab_size": 40, "num_attention_heads": 4, "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
PLACEMENTS = [
    *(PairedStep(Placement(frozen, master)) for frozen in ("device", "host") for master in ("device", "host")),
    PairedStep(STREAMED, resident=False),
]


def tiny(folder: Path, kind: str, compute: str = "bf16") -> ModelProfile:
    """A folder with nothing but a config.json, at batch 4 × 16."""
    (folder / "config.json").write_text(json.dumps({**_COMMON, **TINY[kind]}), encoding="utf-8")
    return model_profile(ModelConfig(path=str(folder)), compute, "all", 4, 16, 2)


def error(profile: ModelProfile, step: PairedStep) -> float:
    found = profile.row(ProfiledClient("zorba", step.label, step), count=True).error
    assert found is not None
    return abs(found)


class TestTheCounter:
    def test_a_storage_is_counted_once_and_until_it_dies(self) -> None:
        with FakeTensorMode(), StorageCounter() as counter:
            kept = torch.zeros(10)  # 40 bytes
            view = kept[2:].view(2, 4)
            with counter.part("scratch"):
                gone = kept + 1  # 40 more: the peak
                assert counter.peak == {"activations": 40, "scratch": 40}
                del gone
            counter.restart()
            assert counter.peak == {"activations": 40, "scratch": 0}
            del kept
            counter.restart()
            assert counter.peak["activations"] == 40  # the view holds it
            del view
            counter.restart()
            assert sum(counter.peak.values()) == 0

    def test_host_memory_is_not_counted_and_a_label_moves(self) -> None:
        with FakeTensorMode(), StorageCounter() as counter:
            with counter.part(HOST):
                far = torch.zeros(1000)
            near = torch.empty(1000)
            near.copy_(far)
            assert counter.peak == {"activations": 4000}
            counter.label(near, "active")
            counter.restart()
            assert counter.peak == {"activations": 0, "active": 4000}
            counter.label(near, HOST)
            counter.restart()
            assert sum(counter.peak.values()) == 0

    def test_in_place_work_and_saved_activations(self) -> None:
        """x is kept by the graph for the gradient of w, y by its own; the loss is one number."""
        with FakeTensorMode(), StorageCounter() as counter:
            w = torch.zeros(8, 8, requires_grad=True)
            x = torch.zeros(4, 8)
            x.add_(1)
            loss = ((x @ w).square()).sum()  # product 128, square 128, sum 4
            counter.restart()
            assert sum(counter.peak.values()) == 256 + 128 + 128 + 4
            loss.backward()
            assert w.grad is not None


class TestFormulaAgainstCount:
    """Within three percent, of every placement and active set that budgets may rest on."""

    @pytest.mark.parametrize("step", PLACEMENTS, ids=lambda step: step.label)
    @pytest.mark.parametrize("kind", TINY)
    def test_by_placement(self, tmp_path: Path, kind: str, step: PairedStep) -> None:
        """The first block active, frozen ones behind it: they run on both signs at once."""
        assert error(tiny(tmp_path, kind), step) < 0.03

    @pytest.mark.parametrize(("name", "scope", "shared_by"), [("opt-125m", "all", 1), ("smollm2-135m", "all", 4)])
    def test_directions_per_example(self, name: str, scope: Scope, shared_by: int) -> None:
        """Never too little. (Tiny models are no measure: their norms' fp32 copies outweigh their matrices.)"""
        profile = model_profile(ModelConfig(path=name), "bf16", scope, 8, 40, 2)
        profile = replace(profile, work=replace(profile.work, groups=8 // shared_by))
        step = PairedStep(Placement("host", "host"), frozenset({0, 1}), scope, shared_by=shared_by)
        row = profile.row(ProfiledClient("zorba", step.label, step), count=True)
        assert row.error is not None
        assert 0 <= row.error < 0.03

    @pytest.mark.parametrize(
        ("placement", "scope"),
        [
            (Placement("device", "host", "nf4"), "all"),
            (Placement("host", "host", "int8"), "all"),
            (Placement("device", "device", "int8"), "bias_norm"),
        ],
    )
    def test_packed(self, tmp_path: Path, placement: Placement, scope: Scope) -> None:
        profile, step = tiny(tmp_path, "llama"), PairedStep(placement, scope=scope, stem_format="int8")
        assert error(profile, step) < 0.03
        stem = counted(profile.model, "bf16", profile.work, step).parts["stem"]
        assert stem < counted(profile.model, "bf16", profile.work, replace(step, stem_format="compute")).parts["stem"]

    @pytest.mark.parametrize("active", [{0, 1, 2}, {2}, {0, 2}], ids=str)
    @pytest.mark.parametrize("compute", ["bf16", "fp32"])
    def test_by_active_set(self, tmp_path: Path, compute: str, active: set[int]) -> None:
        assert error(tiny(tmp_path, "opt", compute), PairedStep(STREAMED, frozenset(active))) < 0.03

    @pytest.mark.parametrize("scope", ["matrices", "bias_norm"])
    def test_by_scope(self, tmp_path: Path, scope: Scope) -> None:
        assert error(tiny(tmp_path, "llama"), PairedStep(scope=scope)) < 0.03

    @pytest.mark.parametrize("active", [{0}, {0, 1, 2}], ids=str)
    @pytest.mark.parametrize("kind", ["opt", "llama"])
    def test_rows_that_begin_alike(self, tmp_path: Path, kind: str, active: set[int]) -> None:
        """8 rows of 12 tokens, 9 of which are computed once: 33 tokens where whole rows are 96."""
        profile, step = tiny(tmp_path, kind), PairedStep(STREAMED, frozenset(active))
        whole = replace(profile, work=replace(profile.work, batch_size=8, length=12))
        packed = replace(profile, work=replace(whole.work, shared=9))
        assert error(packed, step) < 0.03
        client = ProfiledClient("zorba", step.label, step)
        parts = [each.row(client).footprint.parts["activations"] for each in (packed, whole)]
        assert parts[0] < 0.6 * parts[1]

    @pytest.mark.parametrize("shared", [0, 9])
    @pytest.mark.parametrize("active", [{0}, {0, 1, 2}], ids=str)
    @pytest.mark.parametrize("kind", TINY)
    def test_without_padding(self, tmp_path: Path, kind: str, active: set[int], shared: int) -> None:
        """The longest batch that may come: rows of full length, but for one token."""
        profile, step = tiny(tmp_path, kind), PairedStep(STREAMED, frozenset(active))
        work = replace(profile.work, batch_size=8, length=12, unpadded=True, shared=shared if kind != "bert" else 0)
        assert error(replace(profile, work=work), step) < 0.03

    def test_a_real_shape(self) -> None:
        profile = model_profile(ModelConfig(path="opt-125m"), "bf16", "all", 16, 128, 2)
        assert error(profile, PairedStep(STREAMED, frozenset({0, 4, 8}))) < 0.03

    def test_the_vocabulary_of_a_language_model(self) -> None:
        """Logits of 50,272 words at 63 positions of 8 rows, in fp32 with their log-softmax, one sign at a time."""
        model = ModelConfig(path="opt-125m", head="lm")
        profile = model_profile(model, "bf16", "all", 8, 64, 0)
        step = PairedStep(active=frozenset(range(12)))
        assert error(profile, step) < 0.03
        packed = replace(profile, work=replace(profile.work, batch_size=1, length=8, positions=8))
        assert error(packed, replace(step, stem_format="int8")) < 0.03
        assert counted(model, "bf16", profile.work, step).parts["logits"] >= 8 * 63 * 50272 * 8


class TestFormulaOfWrittenAnswers:
    """A reward of what the model writes: copies of the active blocks, keys and values, one sign at a time."""

    @pytest.mark.slow
    @pytest.mark.parametrize("compute", ["bf16", "fp32"])
    @pytest.mark.parametrize(("kind", "written", "step"), [("opt", 1, PLACEMENTS[3]), ("llama", 12, PLACEMENTS[0])])
    def test_by_kind_and_length(self, tmp_path: Path, kind: str, compute: str, written: int, step: PairedStep) -> None:
        """About the count, or up to a sixth more: the formula has room for a model whose cache cannot be used."""
        profile = tiny(tmp_path, kind, compute)
        for active in ({0, 1, 2}, {1}):
            seen, found = both(profile, written, replace(step, active=frozenset(active)))
            assert 0.99 * seen.total <= found.total <= 1.17 * seen.total, (seen, found)

    def test_a_copy_of_every_active_block(self, tmp_path: Path) -> None:
        profile, copies = tiny(tmp_path, "opt"), []
        for active in ({1}, {0, 1}, {0, 1, 2}):
            seen, found = both(profile, 4, PairedStep(active=frozenset(active)))
            assert seen.parts["scratch"] == pytest.approx(found.parts["scratch"], rel=0.01)
            copies.append(found.parts["scratch"])
        block = 2 * sum(t.numel for t in profile.manifest.by_block[0] if len(t.shape) == 2)
        assert copies[1] - copies[0] == copies[2] - copies[1] >= block

    def test_a_run_is_counted_so(self) -> None:
        """Budgets rest on it: each active block costs its copy too."""
        answer = "task.answer='{text}'"
        plain, rewarded = (
            prepare(tiny_config('data.prompt="{text} it was"', "data.label_words=[]", *more)).memory.of(None)
            for more in ((answer,), (answer, *REWARD, "task.max_new_tokens=3"))
        )
        assert (rewarded.active_extra - plain.active_extra > 0).all()


def both(profile: ModelProfile, written: int, step: PairedStep) -> tuple[Footprint, Footprint]:
    """What a client holds, counted and by the formula."""
    work = replace(profile.work, written=written, positions=1, logits=40)
    compute = "bf16" if profile.compute == "bf16" else "fp32"
    held = Inventory(profile.manifest, step.placement, step.scope, COMPUTE_BYTES[compute])
    return counted(profile.model, compute, work, step), zorba_footprint(held, work, step.active)


class TestParts:
    """Counted parts whose sizes follow from the manifest alone."""

    def test_weights_by_placement(self, tmp_path: Path) -> None:
        profile = tiny(tmp_path, "opt")
        block = profile.manifest.by_block[0]
        matrices = sum(t.numel for t in block if len(t.shape) == 2)
        vectors = sum(t.numel for t in block if len(t.shape) == 1)
        copy, master = 2 * matrices + 4 * vectors, 4 * (matrices + vectors)
        expected = [
            (2 * copy, master, 0), (2 * copy, copy, 0), (0, master, 2 * copy), (0, copy, 2 * copy), (0, 0, 2 * copy),
        ]  # fmt: skip
        for step, sizes in zip(PLACEMENTS, expected, strict=True):
            seen = counted(profile.model, "bf16", profile.work, replace(step, active=frozenset({1})))
            assert (seen.parts["frozen"], seen.parts["active"], seen.parts["stream buffers"]) == sizes
            assert seen.source == "counted"

    @pytest.mark.parametrize("scope", ["all", "matrices", "norm_weights", None])
    def test_what_a_run_trains_has_gradients_and_moments(self, tmp_path: Path, scope: Scope | None) -> None:
        """Two bytes each, two moments; no embedding has any, unless the whole model is trained. The untied output layer
        (40 × 32) is not read by label words: it has neither."""
        profile = tiny(tmp_path, "llama")
        numel = profile.manifest.numel - 40 * 32 if scope is None else sum(profile.manifest.sizes(scope))
        largest = 2 * max(tensor.numel for tensor in profile.manifest.tensors)
        step = LocalStep(backward=True, moments=True, scope=scope)
        seen = counted(profile.model, "bf16", profile.work, step).parts
        assert 4 * numel <= seen["optimizer state"] <= 4 * numel + largest
        assert seen["gradients"] <= 2 * numel
        assert counted(profile.model, "bf16", profile.work, replace(step, moments=False)).parts["optimizer state"] == 0

    @pytest.mark.parametrize(
        ("rank", "targets", "layers"), [(16, "query", 1), (4, "query_value", 2), (4, "attention", 4)]
    )
    def test_adapters(self, tmp_path: Path, rank: int, targets: Any, layers: int) -> None:
        """Projections 32 square in three blocks, A and B of the rank, with two moments."""
        profile, step = tiny(tmp_path, "opt"), LocalStep(backward=True, moments=True, rank=rank, targets=targets)
        adapters = 3 * layers * 2 * (rank * 32) * 2
        seen = counted(profile.model, "bf16", profile.work, step)
        assert seen.parts["active"] == adapters
        assert 2 * adapters <= seen.parts["optimizer state"] <= 2 * adapters + 2 * rank * 32

    @pytest.mark.parametrize("backward", [True, False])
    def test_a_packed_base(self, tmp_path: Path, backward: bool) -> None:
        """Slabs in the places of matrices; of the largest layer (96 × 32) one copy at a time."""
        profile = tiny(tmp_path, "llama")
        plain = LocalStep(backward=backward, rank=4)
        packed = replace(plain, base_format="nf4", stem_format="int8")
        before, seen = (counted(profile.model, "bf16", profile.work, step).parts for step in (plain, packed))
        blocks = [tensor for block in range(3) for tensor in profile.manifest.by_block[block]]
        matrices = [tensor for tensor in blocks if tensor.packable]
        slabs = sum(slab("nf4", tensor.shape).nbytes for tensor in matrices)
        assert before["frozen"] - seen["frozen"] == sum(2 * tensor.numel for tensor in matrices) - slabs
        assert seen["scratch"] in (0, 2 * 32 * 32, 2 * 96 * 32)
        assert before["stem"] - seen["stem"] == 2 * (2 * 40 * 32 - slab("int8", (40, 32)).nbytes)

    def test_checkpointing_keeps_a_block_s_input(self, tmp_path: Path) -> None:
        """Of three blocks one is run anew at a time."""
        profile, step = tiny(tmp_path, "llama"), LocalStep(backward=True, rank=4)
        kept, anew = (
            counted(profile.model, "bf16", profile.work, replace(step, checkpoint=on)).parts["activations"]
            for on in (False, True)
        )
        assert anew < 0.6 * kept

    def test_a_forward_pair_in_place(self, tmp_path: Path) -> None:
        """It holds one tensor of z or one forward; a stored z is as large as the model, a pool 4 bytes a seed."""
        profile = tiny(tmp_path, "opt")
        seen = counted(profile.model, "bf16", profile.work, LocalStep())
        assert min(seen.parts["scratch"], seen.parts["activations"]) < 2 * 48 * 32
        assert seen.parts["gradients"] == seen.parts["optimizer state"] == 0
        assert counted(profile.model, "bf16", profile.work, LocalStep(seeds=9)).parts["optimizer state"] == 36
        stored = counted(profile.model, "bf16", profile.work, LocalStep(stored=True))
        assert stored.parts["scratch"] >= 2 * profile.manifest.numel


def test_a_model_that_cannot_be_counted_is_known_by_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise RuntimeError("data-dependent")

    monkeypatch.setattr(fleet_memory, "counted", broken)
    manifest = Replica(tiny_loaded("opt")).manifest
    work = Workload(4, 16, 32, 2, 1)
    memory = resident_everywhere(manifest, ModelConfig(path="elsewhere"), "bf16", work, LocalStep()).of(None)
    assert memory.source == "modelled"
    assert memory.bytes_of(frozenset(range(manifest.blocks))) == 2 * manifest.numel


@pytest.mark.parametrize("transposed", [False, True])
def test_a_packed_layer_has_the_gradients_of_its_unpacked_weight(transposed: bool) -> None:
    torch.manual_seed(0)
    layer: Any = Conv1D(6, 4) if transposed else torch.nn.Linear(4, 6)
    x = torch.randn(2, 3, 4, requires_grad=True)
    slabs: list[torch.Tensor] = []
    with StorageCounter() as counter, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            packed_layers, "_slab", lambda weight, format, *_: slabs.append(packed(weight, format)) or slabs[0]
        )
        weight = layer.weight.detach().clone()
        packed_layers.pack_linear(torch.nn.ModuleList([layer]), "int8", "frozen", counter)
        layer(x).square().sum().backward()
    unpacked = torch.empty(24)
    unpack_into(unpacked, slabs[0], tuple(weight.shape), "int8")
    twin = x.detach().clone().requires_grad_(True)
    y = twin @ (unpacked.view(weight.shape) if transposed else unpacked.view(weight.shape).T) + layer.bias
    y.square().sum().backward()
    gradient, expected = x.grad, twin.grad
    assert gradient is not None
    assert expected is not None
    assert torch.equal(gradient, expected)
    assert not torch.equal(unpacked.view(weight.shape), weight)


def packed(weight: torch.Tensor, format: PackedFormat) -> torch.Tensor:
    shape = tuple(weight.shape)
    held = torch.empty(slab(format, shape).nbytes, dtype=torch.uint8)
    pack_into(held, weight.detach().flatten(), shape, format)
    return held


def test_the_table_names_every_method_policy_and_share() -> None:
    found = list(clients(24, "all", (Fraction(1, 4), Fraction(1))))
    assert {client.method for client in found} == set(method_names()) - {"adamw"}  # its step is fedavg's
    paired = [(client.step, client.fraction) for client in found if isinstance(client.step, PairedStep)]
    assert {step.placement for step, _ in paired} == set(table.PLACEMENTS)
    assert {client.label for client in found if client.method == "fedit"} == {
        f"FedIT: LoRA r 16 + AdamW{format}{checkpointed}"
        for format in ("", ", int8", ", nf4")
        for checkpointed in ("", ", checkpointed")
    }
    assert next(step for step, share in paired if share == Fraction(1, 4)).active == {0, 4, 8, 12, 16, 20}
    assert [share for step, share in paired if not step.resident] == [Fraction(1)]
