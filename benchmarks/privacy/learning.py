"""What the demonstration learns at an ε: eight clients in one process, 30 rounds of eight pairs.

Noise for an ε grows with √rounds, so that more rounds or more directions do not bring more. How much of it is left in
the mean depends on ε and on the number of clients alone: with eight clients it drowns the scalars.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, make_row
from zorba_ray.artifacts import RunDir
from zorba_ray.config import load_config
from zorba_ray.experiment import run_experiment

RATES: dict[float | None, float] = {None: 1.5e-3, 8.0: 2e-4, 4.0: 1e-4, 2.0: 5e-5}
"""ε (None: no noise and no clip) -> rate: with noise smaller by as much as scalars with noise are larger."""
CLIP = 10.0
"""C; without noise the median norm of a report is 31."""
SETTINGS = (
    "federation.backend=sequential", "federation.fleet=null", "memory={frozen: device}", "rounds=30", "eval.every=1000",
    "eval.examples=0", "tracking.wandb=disabled",
)  # fmt: skip


def learning_rows(quick: bool) -> list[Row]:
    """Test accuracy by ε, three seeds."""
    rows = []
    for epsilon, rate in RATES.items():
        private = () if epsilon is None else (f"privacy.clip={CLIP}", f"privacy.target_epsilon={epsilon:g}")
        runs = [_run(f"seed={seed}", f"zo.lr={rate}", *private) for seed in ((1,) if quick else (1, 2, 3))]
        told = {
            "test accuracy, zero-shot → end": ", ".join(
                f"{run['start_test_accuracy']:.3f} → {run['test_accuracy']:.3f}" for run in runs
            ),
            "test loss": ", ".join(f"{run['start_test_loss']:.3f} → {run['test_loss']:.3f}" for run in runs),
            "rate": f"{rate:g}",
        }
        name = "privacy_learning test accuracy, " + ("no noise" if epsilon is None else f"ε = {epsilon:g}")
        rows.append(make_row(name, [run["test_accuracy"] for run in runs], "", "", None, details=told))
    return rows


def _run(*overrides: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="zb-") as folder:
        config = load_config("demo", [*SETTINGS, *overrides])
        run = RunDir.create(Path(folder) / "run", config)
        return run_experiment(config, run, "simulated", [], lambda _: None, lambda: False)
