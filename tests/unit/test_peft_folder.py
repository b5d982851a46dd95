"""Adapters as PEFT has them: what PEFT loads answers as our model does, what PEFT wrote is where a run can begin."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.model_folders import change_settings, model_folder
from tests.support.tiny_models import KINDS, tiny_batch, tiny_network
from tests.unit.test_lora import ALPHA, RANK, adapted
from zorba_ray.config import ModelConfig
from zorba_ray.config.model import LoraConfig, Targets
from zorba_ray.errors import ModelError
from zorba_ray.models import LoadedModel, Replica, load_model
from zorba_ray.models.lora import adapters_of
from zorba_ray.models.peft_folder import write_adapter

with_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")


def lora(targets: Targets = "all", path: Path | None = None, **more: Any) -> LoraConfig:
    return LoraConfig(**{"rank": RANK, "alpha": ALPHA, "targets": targets, "path": path and str(path), **more})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "base", "llama")


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    """An adapter of `base` that does something."""
    loaded = load(base, lora("attention"))
    draw(loaded)
    write_adapter(tmp_path / "adapter", loaded.network, lora("attention"), "base", causal=True)
    return tmp_path / "adapter"


def load(base: Path, settings: LoraConfig) -> LoadedModel:
    return load_model(ModelConfig(path=str(base), lora=settings))


def draw(loaded: LoadedModel) -> None:
    generator = torch.Generator().manual_seed(1)
    for _, _, _, up in adapters_of(loaded.network):
        up.data.copy_(0.2 * torch.randn(up.shape, generator=generator))


@with_peft
@pytest.mark.parametrize("targets", ["query_value", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_peft_answers_as_we_do(kind: str, targets: Targets, tmp_path: Path) -> None:
    from peft import PeftModel

    loaded, plain = adapted(kind, targets), tiny_network(kind).eval()
    write_adapter(tmp_path, loaded.network, lora(targets), kind, loaded.causal)
    batch = tiny_batch(kind, 3, 8)
    inputs: dict[str, Any] = {"input_ids": batch.ids_BT, "attention_mask": batch.mask_BT}
    with torch.no_grad():
        wanted, before = loaded.network(**inputs)[0], plain(**inputs)[0]
        theirs = PeftModel.from_pretrained(plain, str(tmp_path))
        torch.testing.assert_close(theirs(**inputs)[0], wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(theirs.merge_and_unload()(**inputs)[0], wanted, atol=2e-5, rtol=1e-5)  # type: ignore[operator]
    assert float((wanted - before).abs().max()) > 0.02


@with_peft
def test_what_peft_wrote_is_where_a_run_begins(base: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    theirs = peft.get_peft_model(plain, settings)
    theirs.save_pretrained(str(tmp_path / "theirs"))
    ours = load(base, lora("query_value", tmp_path / "theirs", rank=4, alpha=8.0))
    ids = torch.arange(5, 17).view(2, 6)
    with torch.no_grad():
        torch.testing.assert_close(ours.network(ids).logits, theirs.eval()(ids).logits, atol=1e-5, rtol=1e-5)


def test_an_adapter_comes_back_to_the_bit(base: Path, folder: Path) -> None:
    wanted = load(base, lora("attention"))
    draw(wanted)
    assert Replica(load(base, lora("attention", folder))).digest() == Replica(wanted).digest()
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"]
    assert (settings["r"], settings["lora_alpha"], settings["task_type"]) == (RANK, ALPHA, "CAUSAL_LM")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "IA3"}, "the adapter is of type 'IA3'; only LORA is supported"),
        ({"use_dora": True}, r"computes more than \(α/r\) B A x \(use_dora=True\); merge it"),
        ({"use_rslora": True}, "use_rslora=True"),
        ({"bias": "all"}, "bias='all'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern="),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        ({"a_setting_to_come": 1}, "a_setting_to_come=1"),
        ({"r": 5}, "its r is 5; set model.lora.rank to this value"),
        ({"lora_alpha": 16}, "its lora_alpha is 16; set model.lora.alpha to this value"),
    ],
)
def test_adapters_that_compute_otherwise(base: Path, folder: Path, changes: dict[str, Any], said: str) -> None:
    change_settings(folder, "adapter_config.json", **changes)
    with pytest.raises(ModelError, match=rf"^model\.lora\.path={folder}: .*{said}"):
        load(base, lora("attention", folder))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("all", r"it has no base_model\.model\.model\.layers\.0\.mlp"),
        ("query", r"it adapts more layers than model\.lora\.targets=query"),
    ],
)  # fmt: skip
def test_adapters_of_other_layers(base: Path, folder: Path, targets: Targets, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load(base, lora(targets, folder))


@pytest.mark.parametrize("fault", ["shape", "nan", "damaged", "pickle", "settings", "nothing"])
def test_damaged_adapters(base: Path, folder: Path, fault: str) -> None:
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    first = min(tensors)
    if fault == "shape":
        save_file(tensors | {first: torch.ones(2, 2)}, file)
    elif fault == "nan":
        save_file(tensors | {first: tensors[first] * float("nan")}, file)
    elif fault == "damaged":
        file.write_bytes(file.read_bytes()[:-40])
    elif fault == "pickle":
        file.rename(folder / "adapter_model.bin")
    elif fault == "settings":
        (folder / "adapter_config.json").write_text("[1")
    said = {
        "shape": "finite numbers of", "nan": "finite numbers of", "damaged": "save the adapter again",
        "pickle": "save the adapter again, as safetensors", "settings": r"adapter_config\.json cannot be read",
        "nothing": r"adapter_config\.json cannot be read",
    }[fault]  # fmt: skip
    with pytest.raises(ModelError, match=rf"model\.lora\.path=.*{said}"):
        load(base, lora("attention", folder / "no" if fault == "nothing" else folder))


def test_an_adapter_is_no_model(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"set model\.path to its base model and model\.lora\.path to this folder"):
        load_model(ModelConfig(path=str(folder)))
