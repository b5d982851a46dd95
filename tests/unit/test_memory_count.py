"""The count of live tensors, and the formula against it."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zorba_ray.config import ModelConfig
from zorba_ray.errors import ClusterError
from zorba_ray.memory.count import Client, counted
from zorba_ray.memory.measure import measured
from zorba_ray.memory.method import ADAMW, LORA, METHODS, MEZO, MEZO_LORA, SGD, ZORBA, Method
from zorba_ray.memory.policy import POLICIES, STREAMED, Policy
from zorba_ray.memory.storage_counter import HOST, StorageCounter
from zorba_ray.memory.table import ModelProfile, clients, model_profile
from zorba_ray.models import Scope

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
OTHERS = [method for method in METHODS if method != ZORBA]


def tiny(folder: Path, kind: str, compute: str = "bf16") -> ModelProfile:
    """A folder with nothing but a config.json, at batch 4 × 16."""
    (folder / "config.json").write_text(json.dumps({**_COMMON, **TINY[kind]}), encoding="utf-8")
    return model_profile(ModelConfig(path=str(folder)), compute, "all", 4, 16, 2)


def error(profile: ModelProfile, client: Client) -> float:
    found = profile.row(client, None, count=True).error
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
    @pytest.mark.parametrize("method", OTHERS, ids=lambda method: method.name)
    @pytest.mark.parametrize("kind", ["opt", "llama"])
    def test_tiny_within_three_percent(self, tmp_path: Path, kind: str, method: Method) -> None:
        assert error(tiny(tmp_path, kind), Client(method)) < 0.03

    @pytest.mark.parametrize(
        ("method", "rank", "targets"),
        [
            (MEZO_LORA, 4, "attention"),
            (MEZO_LORA, 16, "all"),
            (LORA, 4, "attention"),
            (LORA, 16, "all"),
            (LORA, 128, "all"),
            (MEZO_LORA, 16, "query"),
            (LORA, 16, "query_value"),
        ],
    )
    @pytest.mark.parametrize("kind", ["opt", "llama"])
    def test_adapters_of_other_ranks_and_places(
        self, tmp_path: Path, kind: str, method: Method, rank: int, targets: Any
    ) -> None:
        """As runs set them: below and above the hidden width of 32, and beside the feed-forward layers."""
        assert error(tiny(tmp_path, kind), Client(replace(method, rank=rank, targets=targets))) < 0.03

    @pytest.mark.parametrize(
        "method",
        [replace(LORA, rank=4, targets="all"), replace(LORA, rank=16, targets="attention"), replace(LORA, rank=4)],
        ids=lambda method: f"r {method.rank}, {method.targets}",
    )
    def test_adapters_on_an_encoder(self, tmp_path: Path, method: Method) -> None:
        assert error(tiny(tmp_path, "bert"), Client(method)) < 0.03

    @pytest.mark.parametrize("scope", sorted({*get_args(Scope)} - {"lora"}))
    @pytest.mark.parametrize("method", [SGD, ADAMW, MEZO], ids=lambda method: method.name)
    @pytest.mark.parametrize("kind", TINY)
    def test_what_a_run_trains(self, tmp_path: Path, kind: str, method: Method, scope: Scope) -> None:
        """No embedding gets a gradient or a z, and no layer keeps an input that no weight asks for."""
        if kind == "llama" and scope == "biases":
            pytest.skip("it has none")
        assert error(tiny(tmp_path, kind), Client(replace(method, scope=scope))) < 0.03

    @pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.label)
    @pytest.mark.parametrize("kind", TINY)
    def test_zorba_by_policy(self, tmp_path: Path, kind: str, policy: Policy) -> None:
        """The first block active, frozen ones behind it: they run on both signs at once."""
        assert error(tiny(tmp_path, kind), Client(ZORBA, policy, frozenset({0}))) < 0.03

    @pytest.mark.parametrize("active", [{0, 1, 2}, {2}, {0, 2}], ids=str)
    @pytest.mark.parametrize("compute", ["bf16", "fp32"])
    def test_zorba_by_active_set(self, tmp_path: Path, compute: str, active: set[int]) -> None:
        assert error(tiny(tmp_path, "opt", compute), Client(ZORBA, POLICIES[3], frozenset(active))) < 0.03

    @pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
    def test_a_real_shape_within_three_percent(self, method: Method) -> None:
        profile = model_profile(ModelConfig(path="opt-125m"), "bf16", "all", 16, 128, 2)
        assert error(profile, Client(method, POLICIES[3], frozenset({0, 4, 8}))) < 0.03

    def test_the_vocabulary_of_a_language_model(self) -> None:
        """Logits of 50,272 words at 63 positions of 8 rows, in fp32 with their log-softmax, one sign at a time."""
        model = ModelConfig(path="opt-125m", head="lm")
        profile = model_profile(model, "bf16", "all", 8, 64, 0)
        row = profile.row(Client(ZORBA, POLICIES[0], frozenset(range(12))), None, count=True)
        assert row.counted is not None
        assert row.counted.parts["logits"] >= 8 * 63 * 50272 * 8
        assert abs(row.modelled.total / row.counted.total - 1) < 0.03


class TestParts:
    """Counted parts whose sizes follow from the manifest alone."""

    def test_weights_by_policy(self, tmp_path: Path) -> None:
        profile = tiny(tmp_path, "opt")
        blocks = [profile.manifest.by_block[block] for block in range(3)]
        matrices = sum(t.numel for t in blocks[0] if len(t.shape) == 2)
        vectors = sum(t.numel for t in blocks[0] if len(t.shape) == 1)
        copy, master = 2 * matrices + 4 * vectors, 4 * (matrices + vectors)
        expected = {
            POLICIES[0]: (2 * copy, master, 0),
            POLICIES[1]: (2 * copy, copy, 0),
            POLICIES[2]: (0, master, 2 * copy),
            POLICIES[3]: (0, copy, 2 * copy),
            STREAMED: (0, 0, 2 * copy),
        }
        for policy, sizes in expected.items():
            seen = counted(profile.model, "bf16", profile.work, Client(ZORBA, policy, frozenset({1})))
            assert (seen.parts["frozen"], seen.parts["active"], seen.parts["stream buffers"]) == sizes
            assert seen.source == "counted"

    def test_optimizers_hold_two_moments_and_gradients_one_copy(self, tmp_path: Path) -> None:
        """The untied output layer (40 × 32) is not read by label words: it has neither."""
        profile = tiny(tmp_path, "llama")
        moved = 2 * (profile.manifest.numel - 40 * 32)
        largest = 2 * 96 * 32
        adamw = counted(profile.model, "bf16", profile.work, Client(ADAMW))
        assert 2 * moved <= adamw.parts["optimizer state"] <= 2 * moved + largest
        assert counted(profile.model, "bf16", profile.work, Client(SGD)).parts["optimizer state"] == 0

    def test_adapters(self, tmp_path: Path) -> None:
        """The query projections, 32 square, in three blocks, A and B of rank 16, with two moments."""
        seen = counted(tiny(tmp_path, "opt").model, "bf16", tiny(tmp_path, "opt").work, Client(LORA))
        adapters = 3 * 2 * (LORA.rank * 32) * 2
        assert (seen.parts["active"], seen.parts["optimizer state"]) == (adapters, 2 * adapters)

    def test_mezo_holds_one_tensor_of_z_or_one_forward(self, tmp_path: Path) -> None:
        seen = counted(tiny(tmp_path, "opt").model, "bf16", tiny(tmp_path, "opt").work, Client(MEZO))
        assert min(seen.parts["scratch"], seen.parts["activations"]) < 2 * 48 * 32
        assert seen.parts["gradients"] == seen.parts["optimizer state"] == 0


def test_the_table_names_every_method_policy_and_share() -> None:
    found = list(clients(24, "all", (Fraction(1, 4), Fraction(1))))
    assert {client.method for client, _ in found} == set(METHODS)
    assert {client.policy for client, _ in found} == set(POLICIES)
    assert next(client for client, share in found if share == Fraction(1, 4)).active == {0, 4, 8, 12, 16, 20}
    assert [share for client, share in found if client.policy == STREAMED] == [Fraction(1)]


def test_no_measurement_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    profile = tiny(tmp_path, "opt")
    with pytest.raises(ClusterError, match="modelled and counted here, not measured"):
        measured(profile.model, "bf16", profile.work, Client())
