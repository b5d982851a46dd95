"""The state of a sweep (sweep.json): begins it, resumes it by the run directories, and reads figures of trials."""

import time
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Run
from zorba_ray.artifacts.campaigns import Metric, Sweep, Trial
from zorba_ray.artifacts.sweep import FIGURES
from zorba_ray.campaigns.cell import is_done
from zorba_ray.campaigns.directory import CampaignDir, changes, require_same
from zorba_ray.campaigns.sweep.plan import Point, TrialPlan
from zorba_ray.config import SweepConfig
from zorba_ray.config.sweep import MAY_CHANGE


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
    """The directory of a sweep that is resumed. Whether a trial is finished is read from its run directory.

    Raises:
        RunDirError: there is no sweep, its space or base run differs (differences are listed), or a summary is damaged.
    """
    directory = CampaignDir.resume(path, Sweep)
    state, settings = directory.state, sweep.resolved()
    fixed = {key: value for key, value in settings.items() if key not in MAY_CHANGE}
    old = {key: value for key, value in state.settings.items() if key not in MAY_CHANGE}
    require_same(path, [*changes(old, fixed), *changes(state.base, base, "run.")], "sweep")
    state.sessions += 1
    state.settings = settings
    for trial in state.trials:
        if not trial.rounds:
            continue  # a refused proposal, which has no run
        if not is_done(trial, path / trial.run):
            trial.status = trial.status if trial.status == "stopped" else "pending"
        elif trial.status != "diverged":
            trial.status, trial.error, trial.round = "finished", None, Run(path / trial.run).rounds_done
            trial.figures, trial.weights_sha256 = figures_of_run(path / trial.run)
    return directory


def add_trial(state: Sweep, plan: TrialPlan) -> Trial:
    """Adds a trial to the state."""
    trial = new_trial(plan.number, plan.name, plan.values, plan.point, plan.config.rounds)
    state.trials.append(trial)
    return trial


def new_trial(number: int, name: str, values: dict[str, Any], point: Point, rounds: int) -> Trial:
    """A trial without a finished round."""
    return Trial(
        trial=number,
        name=name,
        run=f"trials/{name}",
        log=f"logs/{name}.log",
        values=values,
        picks={key: (pick.value, pick.label) for key, pick in point.items()},
        round=0,
        rounds=rounds,
    )


def figures_of_run(path: Path) -> tuple[dict[str, float | None], str | None]:
    """(figures, SHA-256 of θ) of a finished run."""
    run = Run(path)
    return {name: figure(run) for name, figure in FIGURES.items()}, run.summary and run.summary.weights_sha256
