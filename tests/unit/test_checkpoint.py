"""Which keys of a checkpoint make it whole: what is missing or too much is listed, what does not count is let be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.support.architectures import tiny
from tests.support.model_folders import (
    State,
    beside,
    change_settings,
    change_weights,
    model_folder,
    renamed,
    without,
)
from tests.support.tiny_models import KINDS
from zorba_ray.config import ModelConfig
from zorba_ray.errors import ModelError
from zorba_ray.models import LoadedModel, Replica, load_model

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 2,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 32,
}  # fmt: skip
MASK = torch.ones(1, 1, 32, 32, dtype=torch.bool).tril()
Change = Callable[[State], Any]


def load(folder: Path, **more: Any) -> LoadedModel:
    return load_model(ModelConfig(path=str(folder), **more))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder)
    text = str(caught.value)
    assert len(text) <= 2000
    return text


# Missing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "base_model.model.", "model.module."])
def test_keys_of_a_wrapper_are_named(tmp_path: Path, prefix: str) -> None:
    folder = model_folder(tmp_path)
    change_weights(folder, renamed(lambda name: prefix + name))
    text = refusal(folder)
    assert "lm_head.weight, model.embed_tokens.weight" in text
    assert f"keys in the files begin with {prefix!r}" in text
    assert f"{prefix}lm_head.weight" in text


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("llama", "lm_head.weight"),
        ("llama", "model.layers.1.self_attn.k_proj.weight"),
        ("llama", "model.norm.weight"),
        ("llama", "model.embed_tokens.weight"),
        ("gpt2", "transformer.wpe.weight"),
        ("opt", "model.decoder.layers.0.fc1.bias"),
        ("bert", "encoder.layer.1.output.LayerNorm.weight"),
        ("bert", "embeddings.token_type_embeddings.weight"),
    ],
)
def test_a_missing_weight_is_listed(tmp_path: Path, kind: str, key: str) -> None:
    folder = model_folder(tmp_path, kind)
    change_weights(folder, without(key))
    assert f"the files lack weights that the model needs: {key}" in refusal(folder)


def test_a_tied_head_is_not_missing_and_a_second_one_is_the_head(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "qwen2")
    loaded = load(folder)
    head = loaded.network.get_output_embeddings().weight
    assert head is loaded.network.get_input_embeddings().weight
    other = torch.randn(40, 32)
    change_weights(folder, lambda state: {**state, "lm_head.weight": other})
    assert torch.equal(load(folder).network.get_output_embeddings().weight, other)


def test_other_numbers_of_blocks(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, num_hidden_layers=3)
    assert "lack weights" in (text := refusal(folder))
    assert "model.layers.2.mlp.down_proj.weight" in text
    change_settings(folder, num_hidden_layers=1)
    assert "does not use: model.layers.1.input_layernorm.weight" in refusal(folder)


def test_weights_of_another_shape_are_listed_with_both_shapes(tmp_path: Path) -> None:
    text = refusal(model_folder(tmp_path, vocab_size=41))
    assert "lm_head.weight [40, 32] for [41, 32], model.embed_tokens.weight [40, 32] for [41, 32]" in text


# Too much ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "key", "shape"),
    [
        ("llama", "model.layers.0.self_attn.q_proj.bias", (32,)),
        ("llama", "model.layers.0.self_attn.q_norm.weight", (8,)),
        ("llama", "model.layers.0.self_attn.q_proj.lora_A.weight", (2, 32)),
        ("llama", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", (2, 32)),
        ("llama", "model.norm.bias", (32,)),
        ("llama", "model.embed_positions.weight", (32, 32)),
        ("llama", "lm_head.bias", (40,)),
        ("gpt2", "transformer.h.0.attn.c_attn.weight_scale", (96,)),
        ("bert", "encoder.layer.0.attention.self.distance_embedding.weight", (63, 8)),
        ("bert", "embeddings.norm.weight", (32,)),
    ],
)
def test_a_weight_that_the_model_should_use_is_listed(
    tmp_path: Path, kind: str, key: str, shape: tuple[int, ...]
) -> None:
    folder = model_folder(tmp_path, kind)
    change_weights(folder, lambda state: {**state, key: torch.randn(shape)})
    assert f"does not use: {key}" in refusal(folder)


@pytest.mark.parametrize(
    ("network", "tables"),
    [
        ("gpt2", {"transformer.h.0.attn.bias": MASK, "transformer.h.0.attn.masked_bias": torch.tensor(-1e4)}),
        ("gpt2", {"transformer.h.0.attn.bias": MASK.to(torch.uint8)}),
        ("llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
        ("gpt_neo", {f"transformer.h.1.attn.attention.{own}": MASK for own in ("bias", "masked_bias")}),
        ("gptj", {"transformer.h.0.attn.bias": MASK, "transformer.h.0.attn.masked_bias": torch.tensor(-1e9)}),
        ("codegen", {"transformer.h.0.attn.causal_mask": MASK}),
        ("gpt_neox", {f"gpt_neox.layers.0.attention.{own}": MASK for own in ("bias", "rotary_emb.inv_freq")}),
        ("bert", {"embeddings.position_ids": torch.arange(32)[None]}),
        ("llama", {"v_head.summary.weight": torch.ones(1, 32), "v_head.summary.bias": torch.ones(1)}),
        ("llama", {"score.weight": torch.ones(2, 32)}),
        ("llama", {"vision_tower.encoder.layers.0.self_attn.q_proj.weight": torch.ones(3, 3)}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)  # fmt: skip
def test_old_tables_and_heads_of_other_tasks_are_let_be(tmp_path: Path, network: str, tables: State) -> None:
    folder = model_folder(tmp_path, network if network in KINDS else tiny(network, attention=None))
    before = Replica(load(folder)).digest()
    change_weights(folder, lambda state: {**state, **tables})
    assert Replica(load(folder)).digest() == before


def test_files_without_the_backbones_prefix(tmp_path: Path) -> None:
    """GPT-2's own files: of the bare backbone, with the masks of old versions."""
    folder = model_folder(tmp_path, "gpt2")
    before = Replica(load(folder)).digest()
    change_weights(
        folder, lambda s: {name.removeprefix("transformer."): t for name, t in s.items()} | {"h.0.attn.bias": MASK}
    )
    assert Replica(load(folder)).digest() == before
    change_weights(folder, beside(h__0__attn__c_attn__more=torch.ones(3)))
    assert "does not use: h.0.attn.c_attn.more" in refusal(folder)


# What does not reach the loss ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_a_pooler_is_no_part_of_theta_whether_it_is_there_or_not(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    network = getattr(transformers, f"{kind}ForMaskedLM")(getattr(transformers, f"{kind}Config")(**SIZES))
    folder = model_folder(tmp_path, network)
    first, again = load(folder), load(folder)
    assert first.unused == first.fresh == {"pooler.dense.weight", "pooler.dense.bias"}
    assert not any("pooler" in tensor.name for tensor in Replica(first).manifest.tensors)
    assert Replica(first).digest() == Replica(again).digest()
    pooler = {
        f"{kind.lower()}.pooler.dense.{own}": torch.randn(shape)
        for own, shape in [("weight", (32, 32)), ("bias", (32,))]
    }
    change_weights(folder, lambda state: {**state, **pooler})
    there = load(folder)
    assert not there.fresh
    assert there.unused == first.unused
    assert Replica(there).digest() == Replica(first).digest()


@pytest.mark.parametrize(
    "kind",
    [
        "BertForPreTraining",
        "BertForSequenceClassification",
        "DistilBertForMaskedLM",
        "AlbertForMaskedLM",
        "MPNetForMaskedLM",
        "ElectraForPreTraining",
    ],
)
def test_an_encoder_from_a_model_with_another_head(tmp_path: Path, kind: str) -> None:
    """Norms and projections of heads are none of the encoder's, though they have such names."""
    sizes = {**SIZES, "embedding_size": 32} if kind.startswith(("Albert", "Electra")) else SIZES
    network = getattr(transformers, kind)(getattr(transformers, f"{kind.split('For')[0]}Config")(**sizes))
    wanted = network.base_model.state_dict()
    loaded = load(model_folder(tmp_path, network))
    state = loaded.network.state_dict()
    assert all(torch.equal(wanted[name], tensor) for name, tensor in state.items() if name in wanted)
    assert set(state) - set(wanted) <= loaded.unused


def test_an_encoder_that_lacks_its_norm(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)))
    change_weights(folder, without("bert.embeddings.LayerNorm.weight"))
    assert "lack weights that the model needs: embeddings.LayerNorm.weight" in refusal(folder)


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_floating_kinds_are_fp32_here(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = model_folder(tmp_path)
    change_weights(folder, lambda state: {name: tensor.to(dtype) for name, tensor in state.items()})
    held = {parameter.dtype for parameter in load(folder).network.parameters()}
    assert held == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.bool, torch.int64])
def test_coarse_numbers_are_refused_not_cast(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = model_folder(tmp_path)
    key = "model.layers.0.self_attn.q_proj.weight"
    change_weights(folder, lambda state: {**state, key: (8 * state[key]).to(dtype)})
    text = refusal(folder)
    assert "numbers that cannot be trained" in text
    assert key in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["model.norm.weight", "model.layers.1.mlp.up_proj.weight", "lm_head.weight"])
def test_weights_that_are_no_numbers(tmp_path: Path, key: str, value: float) -> None:
    folder = model_folder(tmp_path)

    def spoil(state: State) -> State:
        state[key].view(-1)[5] = value
        return state

    change_weights(folder, spoil)
    assert f"{key} has NaN or infinite numbers" in refusal(folder)


def test_the_quantised_are_named(tmp_path: Path) -> None:
    text = refusal(model_folder(tmp_path, quantization_config={"quant_method": "gptq", "bits": 4}))
    assert "quantised ('gptq')" in text


def test_a_table_of_whole_numbers_is_no_weight(tmp_path: Path) -> None:
    """DeepSeek V4 keeps which expert a token goes to, under a name that transformers changes."""
    folder = model_folder(tmp_path, tiny("deepseek_v4"))
    assert any(str(tensor.dtype) == "torch.int64" for tensor in load_file(folder / "model.safetensors").values())
    assert load(folder).blocks
