"""Kinds of checkpoints and architectures that once gave wrong numbers or tracebacks, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from tests.conftest import Cli, Outcome
from tests.support.architectures import tiny
from tests.support.model_folders import (
    change_weights,
    data_folder,
    model_folder,
    run_tree,
)
from zorba_ray.config import ModelConfig
from zorba_ray.models import Replica, load_model

Run = Callable[..., Outcome]
SIZES: dict[str, Any] = {
    "vocab_size": 128, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 2,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64,
}  # fmt: skip


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> Run:
    """`run(model, name, override, …)` is a run of a round on `model`, kept in `tmp_path / name`."""

    def call(model: Path, name: str, *overrides: str) -> Outcome:
        tree = run_tree(model, data_folder(tmp_path / "data"))
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return cli("run", path, *overrides, "--run-dir", tmp_path / name)

    return call


def _summary(path: Path) -> dict[str, Any]:
    return json.loads((path / "summary.json").read_text(encoding="utf-8"))


def _losses(path: Path) -> list[float]:
    """Validation losses, from round 0 on."""
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record["loss"] for record in records if record.get("split") == "validation"]


# Checkpoints that are not whole --------------------------------------------------------------------------------------


# What is no part of θ ------------------------------------------------------------------------------------------------


@pytest.fixture
def headless(tmp_path: Path) -> Path:
    """RoBERTa from a masked language model: the checkpoint has no pooler."""
    torch.manual_seed(0)
    return model_folder(tmp_path / "m", transformers.RobertaForMaskedLM(transformers.RobertaConfig(**SIZES)))


def test_a_missing_pooler_is_the_same_in_every_way_of_running(run: Run, headless: Path, tmp_path: Path) -> None:
    ways = {
        "alone": ["rounds=2"],
        "again": ["rounds=2"],
        "actors": ["rounds=2", "federation.backend=ray", "federation.mode=pinned", "federation.workers=2"],
    }
    for name, overrides in ways.items():
        outcome = run(headless, name, *overrides)
        assert outcome.code == 0, outcome.err
    digests = {_summary(tmp_path / name)["weights_sha256"] for name in ways}
    assert len(digests) == 1
    ledgers = {(tmp_path / name / "ledger.zl").read_bytes() for name in ("alone", "again")}
    assert len(ledgers) == 1
    (tmp_path / "alone" / "summary.json").unlink()
    assert run(headless, "alone", "rounds=2", "--resume").code == 0
    assert _summary(tmp_path / "alone")["weights_sha256"] in digests


@pytest.mark.parametrize("pooler", [False, True])
def test_an_export_holds_no_drawn_weight_and_is_the_same_model(
    run: Run, cli: Cli, headless: Path, tmp_path: Path, pooler: bool
) -> None:
    if pooler:
        own = {"weight": torch.ones(32, 32), "bias": torch.ones(32)}
        change_weights(headless, lambda s: s | {f"roberta.pooler.dense.{name}": held for name, held in own.items()})
    assert run(headless, "r", "zo.lr=0.05").code == 0
    digest = _summary(tmp_path / "r")["weights_sha256"]
    outcome = cli("replay", tmp_path / "r", "--export", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    _, report = transformers.AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    missing = set() if pooler else {"pooler.dense.weight", "pooler.dense.bias"}
    assert set(report["missing_keys"]) == missing
    assert not report["unexpected_keys"]
    exported = load_model(ModelConfig(path=str(tmp_path / "out")))
    assert Replica(exported).digest() == digest != Replica(load_model(ModelConfig(path=str(headless)))).digest()
    assert run(tmp_path / "out", "further").code == 0


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "qwen2"])
def test_an_exported_model_has_the_loss_that_the_run_ended_with(run: Run, cli: Cli, tmp_path: Path, kind: str) -> None:
    """Of causal LMs; an encoder's label prompts are read anew, with the weights that it begins with."""
    assert run(model_folder(tmp_path / "m", tiny(kind, attention=None)), "r", "zo.lr=0.01").code == 0
    assert cli("replay", tmp_path / "r", "--export", tmp_path / "out").code == 0
    assert run(tmp_path / "out", "further").code == 0
    ended = _losses(tmp_path / "r")
    assert ended[-1] == _losses(tmp_path / "further")[0] != ended[0]


# Architectures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("lfm2", []),
        ("mamba2", ["zo.scope=matrices"]),
        ("gemma4_text", []),
        ("marian", []),
        ("longformer", ["zo.rank=2"]),
        ("deberta-v2", []),
        ("falcon", []),
        ("falcon", ["model.lora.rank=4", "model.lora.targets=all", "zo.scope=lora"]),
        ("squeezebert", []),
    ],
)
def test_an_architecture_runs_and_replays(run: Run, cli: Cli, tmp_path: Path, kind: str, overrides: list[str]) -> None:
    """Each was wrong in silence, or ended in a traceback; that the numbers are right is what the pair check says."""
    settings = {"attention_window": [8] * 3} if kind == "longformer" else {}
    folder = model_folder(tmp_path / "m", tiny(kind, attention=None), **settings)
    outcome = run(folder, "r", *overrides)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "r" / "ledger.zl").exists()
    replayed = cli("replay", tmp_path / "r")
    assert replayed.code == 0, replayed.err
    assert _summary(tmp_path / "r")["weights_sha256"] in replayed.out
