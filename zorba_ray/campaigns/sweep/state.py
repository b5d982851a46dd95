"""A sweep's trials in sweep.json: planned, brought in line with their run directories, compared by figures."""

import time
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import RunDir, read_tree
from zorba_ray.artifacts.campaigns import Metric, Sweep, Trial
from zorba_ray.campaigns.directory import CampaignDir, changes, require_same
from zorba_ray.campaigns.sweep.plan import TrialPlan
from zorba_ray.config import SweepConfig
from zorba_ray.config.sweep import MAY_CHANGE

_FROM_SUMMARY = {
    "validation_loss": "final_loss",
    "validation_accuracy": "final_accuracy",
    "test_loss": "test_loss",
    "test_accuracy": "test_accuracy",
    "bytes_up_per_client_round": "bytes_up_per_client_round",
    "bytes_down_per_client_round": "bytes_down_per_client_round",
    "forward_pairs_per_client": "forward_pairs_per_client",
    "distance": "distance",
    "wall_s": "wall_s",
    "cpu_s": "cpu_s",
}
_FROM_ALLOCATION = {"f1": "f1", "fleet_vram_bytes": "f2_bytes", "worst_share": "worst_share"}
FIGURES = (*_FROM_SUMMARY, *_FROM_ALLOCATION)
"""What trials are compared by."""


def begin_sweep(path: Path, sweep: SweepConfig, base: dict[str, Any], command: list[str]) -> CampaignDir[Sweep]:
    """A new sweep's directory.

    Raises:
        RunDirError, StorageError: as `CampaignDir.begin`.
    """
    settings = sweep.resolved()
    state = Sweep(
        name=sweep.name,
        question=sweep.question,
        command=tuple(command),
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        metrics=tuple(Metric(name=metric.name, mode=metric.mode) for metric in sweep.metric),
        space=settings["space"],
        settings=settings,
        base=base,
        trials=[],
    )
    return CampaignDir.begin(path, state, "--sweep-dir")


def resume_sweep(path: Path, sweep: SweepConfig, base: dict[str, Any]) -> CampaignDir[Sweep]:
    """The directory of a sweep that goes on with the same space; what finished is finished, whatever sweep.json says.

    Raises:
        RunDirError: no sweep there, or its space or run was another (the differences are listed).
    """
    directory = CampaignDir.resume(path, Sweep)
    state, settings = directory.state, sweep.resolved()
    kept = {key: value for key, value in settings.items() if key not in MAY_CHANGE}
    old = {key: value for key, value in state.settings.items() if key not in MAY_CHANGE}
    require_same(path, [*changes(old, kept), *changes(state.base, base, "run.")], "sweep")
    state.sessions += 1
    state.settings = settings
    for trial in state.trials:
        if not trial.rounds:
            continue  # a proposal that was refused: there is no run
        finished = finished_trial(path / trial.run)
        if finished is not None:
            trial.status, trial.error, trial.round = "finished", None, trial.rounds
            trial.figures, trial.weights_sha256 = finished
        elif trial.status in ("running", "failed", "finished"):
            trial.status = "pending"
    return directory


def add_trial(state: Sweep, plan: TrialPlan) -> Trial:
    """A trial is known from now on."""
    trial = Trial(
        trial=plan.number,
        name=plan.name,
        run=f"trials/{plan.name}",
        log=f"logs/{plan.name}.log",
        values=plan.values,
        picks=plan.picks,
        round=0,
        rounds=plan.config.rounds,
    )
    state.trials.append(trial)
    return trial


def finished_trial(path: Path) -> tuple[dict[str, float | None], str] | None:
    """Figures and digest of θ of a run directory whose run is finished, else None."""
    run = RunDir(path)
    summary = run.finished()
    if summary is None:
        return None
    allocation = read_tree(run.allocation)
    figures = {name: getattr(summary, field) for name, field in _FROM_SUMMARY.items()}
    return figures | {name: allocation[key] for name, key in _FROM_ALLOCATION.items()}, summary.weights_sha256
