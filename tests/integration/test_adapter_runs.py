"""Runs that train adapters: their export as PEFT has it, merged, and as the start of another run."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.config import ExperimentConfig, ModelConfig, anchored
from zorba_ray.experiment import prepare
from zorba_ray.experiment.replay import replay_run
from zorba_ray.models import Replica, load_model

ADAPTERS = ["model.lora.rank=2", "model.lora.targets=query", "zo.scope=lora", "zo.lr=0.3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapters") / "run"
    run_here(tiny_config(*ADAPTERS), path)
    return path


def test_adapters_are_exported_alone_and_begin_a_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = replay_run(trained, None, tmp_path / "adapter", None)
    assert replayed.adapter
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {f.name for f in (tmp_path / "adapter").iterdir()}
    assert (
        json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "builtin"
    )
    monkeypatch.chdir(tmp_path)
    config = anchored(tiny_config(*ADAPTERS, "model.lora.path=adapter"))
    assert config.model.lora is not None
    assert config.model.lora.path == str(tmp_path / "adapter")
    assert prepare(config).header.weights_sha256 == replayed.digest


def test_merged_they_are_a_whole_model(trained: Path, tmp_path: Path) -> None:
    assert not replay_run(trained, None, tmp_path / "merged", None, merged=True).adapter
    replay_run(trained, None, tmp_path / "adapter", None)
    path = str(tmp_path / "adapter")
    beside = load_model(tiny_config(*ADAPTERS, f"model.lora.path={path}").model)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", local_files_only=True).eval()
    base = load_model(ModelConfig(path="builtin"))
    ids = torch.arange(4, 24).view(2, 10)
    with torch.no_grad():
        wanted = beside.network(ids).logits
        torch.testing.assert_close(merged(ids).logits, wanted, atol=1e-5, rtol=1e-5)
        assert float((base.network(ids).logits - wanted).abs().max()) > 1e-3


def test_where_more_than_adapters_moved_all_is_exported(tmp_path: Path) -> None:
    run_here(tiny_config(*ADAPTERS, "zo.scope=bias_norm", "zo.lr=0.03"), tmp_path / "run")
    replayed = replay_run(tmp_path / "run", None, tmp_path / "out", None)
    assert not replayed.adapter
    whole = Replica(load_model(ModelConfig(path=str(tmp_path / "out"))))
    assert whole.digest() != Replica(load_model(ModelConfig(path="builtin"))).digest()


def test_where_an_adapter_stands_does_not_count_for_a_resume() -> None:
    def digest(*overrides: str) -> str:
        config: ExperimentConfig = tiny_config(*ADAPTERS, *overrides)
        return config.digest()

    assert digest() == digest("model.lora.path=adapter")
