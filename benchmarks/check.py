"""What the check of forward pairs costs before a run: θ's two digests included."""

import tempfile
import time
from pathlib import Path

import torch

from benchmarks.rows import Row, make_row, not_run
from benchmarks.shapes import OPT_125M, PROMPT, WORDS, loaded, network
from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig, config_from_tree, load_config
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.pair_check import require_right_pairs
from zorba_ray.experiment.task_model import task_model
from zorba_ray.models import load_model


def rows(quick: bool) -> list[Row]:
    """The demonstration, and OPT-125M's shape with random weights."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="zb-") as folder:
        return [*_demo(Path(folder), quick), *_opt(Path(folder), 1 if quick else 3)]


def _demo(folder: Path, quick: bool) -> list[Row]:
    config = load_config("demo", ["federation.backend=sequential", "tracking.wandb=disabled"])
    seconds = _checks(config, 5)
    found = [make_row("check of the demo, CPU", seconds, "s", "3 % of the demo", None)]
    name, goal = "check of the demo / the demo in one process, CPU", "<= 0.03"
    if quick:
        return [*found, not_run(name, "", goal, "left out by --quick")]
    run = RunDir.create(folder / "demo", config)
    start = time.process_time()
    run_experiment(config, run, "simulated", [], lambda _: None, lambda: False)
    share = sorted(seconds)[len(seconds) // 2] / (time.process_time() - start)
    return [*found, make_row(name, [share], "", goal, share <= 0.03)]


def _opt(folder: Path, times: int) -> list[Row]:
    path = folder / "opt-125m"
    made = loaded(network(OPT_125M))
    made.network.save_pretrained(path)
    made.tokenizer.save_pretrained(path)
    tree = {
        "model": {"path": str(path)},
        "data": {"prompt": PROMPT, "label_words": list(WORDS)},
        "tracking": {"wandb": "disabled"},
    }
    seconds = _checks(config_from_tree(tree, "OPT-125M"), times)
    return [
        make_row("check of OPT-125M's shape, all tensors, CPU of one core", seconds, "s", "<= 8", max(seconds) <= 8)
    ]


def _checks(config: ExperimentConfig, times: int) -> list[float]:
    """CPU seconds of checks."""
    seconds = []
    for _ in range(times):
        model = task_model(load_model(config.model), config, "cpu")
        start = time.process_time()
        require_right_pairs(config, model)
        seconds.append(time.process_time() - start)
    return seconds
