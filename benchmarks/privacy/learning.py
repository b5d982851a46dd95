"""What a run learns at an ε: the built-in task with 512 clients, few rounds and one direction.

Noise for an ε grows with √rounds, so that more rounds or more directions do not bring more. How much of it is left in
the mean depends on ε and on the number of clients alone.
"""

import tempfile
from pathlib import Path

from benchmarks.rows import Row, make_row
from zorba_ray.artifacts import RunDir
from zorba_ray.config import load_config
from zorba_ray.experiment import run_experiment

EPSILONS = (None, 8.0, 4.0, 2.0)
"""None: without noise, and without a clip."""
SETTINGS = (
    "federation.backend=sequential", "federation.fleet=null", "memory={frozen: device}", "federation.clients=512",
    "data.partition=iid", "rounds=4", "zo.directions=1", "zo.difference=central", "zo.schedule=constant",
    "zo.scope=bias_norm", "eval.every=1000", "eval.examples=0", "tracking.wandb=disabled",
)  # fmt: skip
CLIP, RATES = 3.0, {None: 0.06, 8.0: 0.06, 4.0: 0.06, 2.0: 0.06}
"""C, and the rate for each ε, chosen on seed 101."""


def learning_rows(quick: bool) -> list[Row]:
    """Test accuracy after four rounds by ε, three seeds."""
    rows = []
    for epsilon in EPSILONS:
        accuracies, losses = [], []
        for seed in (1,) if quick else (1, 2, 3):
            private = () if epsilon is None else (f"privacy.clip={CLIP}", f"privacy.target_epsilon={epsilon:g}")
            summary = _run(f"seed={seed}", f"zo.lr={RATES[epsilon]}", *private)
            accuracies.append(summary["test_accuracy"])
            losses.append(summary["test_loss"])
        told = {"test loss": ", ".join(f"{loss:.3f}" for loss in losses), "rate": f"{RATES[epsilon]:g}"}
        name = "privacy_learning test accuracy, " + ("no noise" if epsilon is None else f"ε = {epsilon:g}")
        rows.append(make_row(name, accuracies, "", "", None, details=told))
    return rows


def _run(*overrides: str) -> dict:
    with tempfile.TemporaryDirectory(prefix="zb-") as folder:
        config = load_config("demo", [*SETTINGS, *overrides])
        run = RunDir.create(Path(folder) / "run", config)
        return run_experiment(config, run, "simulated", [], lambda _: None, lambda: False)
