"""A plausible sweep directory, written without running anything: ε × fleet × seed, or a loguniform search."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tests.support.fake_run import GIB, Fleet, write_fake_run
from zorba_ray.artifacts import Run
from zorba_ray.artifacts.sweep import FIGURES

Ending = Literal["finished", "stopped", "failed", "running", "pending"]

EPSILONS = (0.0, 0.25, 0.5, 1.0)
FLEETS: dict[str, list[tuple[str, int, int]]] = {
    "equal": [("laptop", 6, 12 * GIB)],
    "extreme": [("phone", 4, 6 * GIB), ("server", 2, 24 * GIB)],
}
"""Label -> (class, how many, budget in bytes)."""
SEEDS = (1, 2, 3)
ERROR = "LostClients: 1 of 6 reports in round 12, quorum 3; the ledger is intact: continue with --resume"


def write_fake_sweep(
    path: Path,
    *,
    name: str = "epsilon",
    question: str = "What do bytes saved by a larger ε cost in loss?",
    rounds: int = 60,
    endings: dict[int, Ending] | None = None,
    status: str = "finished",
    labels: dict[str, str] | None = None,
    error: str = ERROR,
    metrics: tuple[tuple[str, str], ...] = (("validation_loss", "min"),),
    loguniform: bool = False,
) -> Path:
    """A sweep of 24 trials: four ε, two fleets, three seeds; with `loguniform`, learning rates drawn instead of ε and
    seeds. `endings` names the trials that did not finish; `labels` renames the fleets. Returns `path`."""
    path.mkdir(parents=True)
    endings, labels = endings or {}, labels or {}
    rng = np.random.default_rng(7)
    if loguniform:
        rates = 10 ** rng.uniform(-4, -1, 12)
        space: dict[str, Any] = {"zo.lr": {"loguniform": [1e-4, 1e-1]}}
        values = [{"zo.lr": float(rate), "federation.fleet": fleet} for rate in rates for fleet in FLEETS]
    else:
        space = {"allocation.epsilon": {"grid": list(EPSILONS)}}
        values = [
            {"allocation.epsilon": epsilon, "federation.fleet": fleet, "seed": seed}
            for epsilon in EPSILONS
            for fleet in FLEETS
            for seed in SEEDS
        ]
    space["federation.fleet"] = {"grid": {labels.get(fleet, fleet): classes for fleet, classes in FLEETS.items()}}
    if not loguniform:
        space["seed"] = {"grid": list(SEEDS)}
    trials = [
        _trial(path, number, v, rounds, endings.get(number, "finished"), error) for number, v in enumerate(values)
    ]
    for trial in trials:
        trial["values"]["federation.fleet"] = labels.get(fleet := trial["values"]["federation.fleet"], fleet)
    base = Run(path / next(t["run"] for t in trials if t["status"] == "finished")).config.resolved()
    state = {
        "version": 1,
        "name": name,
        "question": question,
        "status": status,
        "command": ["zorba-ray", "sweep", "tune_configs/sweeps/epsilon.yaml", "name=" + name],
        "started": "2026-11-25T02:14:09+0000",
        "wall_s": 1873.4,
        "metrics": [{"name": metric, "mode": mode} for metric, mode in metrics],
        "space": space,
        "settings": {"search": "random" if loguniform else "grid", "samples": 1, "scheduler": "none", "concurrency": 4},
        "base": base,
        "trials": trials,
    }
    (path / "sweep.json").write_text(json.dumps(state), encoding="utf-8")
    return path


def _trial(path: Path, number: int, values: dict[str, Any], rounds: int, ending: Ending, error: str) -> dict[str, Any]:
    name = f"{number:03d}-" + "-".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in values.items())
    run = path / "trials" / name
    entry: dict[str, Any] = {
        "trial": number,
        "name": name,
        "run": f"trials/{name}",
        "values": values,
        "status": ending,
        "error": error if ending == "failed" else None,
        "log": f"trials/{name}/trial.log",
        "round": None,
        "rounds": rounds,
        "figures": {},
        "weights_sha256": None,
    }
    if ending == "pending":
        return entry
    done = {"finished": rounds, "stopped": rounds // 3, "failed": 12, "running": rounds // 2}[ending]
    epsilon = values.get("allocation.epsilon", 0.3)
    skew = 0.09 if values["federation.fleet"] == "extreme" else 0.0
    rate = abs(np.log10(values.get("zo.lr", 2e-3)) - np.log10(3e-3))
    rng = np.random.default_rng(1000 + number)
    write_fake_run(
        run,
        name=f"trial-{number:03d}",
        fleet=_fleet(values["federation.fleet"], epsilon),
        rounds=rounds,
        done=done,
        every=5,
        seed=values.get("seed", number),
        lr=values.get("zo.lr", 2e-3),
        epsilon=epsilon,
        fall=0.27 - 0.1 * epsilon**2 - skew - 0.06 * rate + float(rng.normal(0, 0.006)),
        status="finished" if ending == "finished" else "interrupted",
        summary=ending in ("finished", "stopped"),
    )
    for file in ("trial.log", "report.html"):
        (run / file).write_text("by hand", encoding="utf-8")
    entry["round"] = done
    if ending in ("finished", "stopped"):
        record = Run(run)
        entry["figures"] = {name: figure(record) for name, figure in FIGURES.items()}
        if ending == "stopped":
            entry["figures"] |= {"test_loss": None, "test_accuracy": None}
        entry["weights_sha256"] = record.summary.weights_sha256 if record.summary else None
    if ending == "failed" and number % 2:
        shutil.rmtree(run)  # it failed before its run directory was whole
    return entry


def _fleet(label: str, epsilon: float) -> Fleet:
    """A larger ε leaves each client fewer blocks."""
    fits = {6 * GIB: 8, 12 * GIB: 24, 24 * GIB: 24}
    return [
        (k, count, budget, max(3, round(fits[budget] * (1 - 0.75 * epsilon)))) for k, count, budget in FLEETS[label]
    ]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
