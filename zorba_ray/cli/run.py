"""`zorba-ray run`: one run from the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zorba_ray.cli.allowed_code import ALLOW_CODE, allowed_reward
from zorba_ray.cli.report import write_run_report

if TYPE_CHECKING:
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.tasks.reward_code import RewardCode


def run(
    config: str = typer.Argument(help="A YAML file, or a preset (demo)."),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. zo.lr=0.02 federation.mode=pinned."),
    run_dir: Path = typer.Option(None, "--run-dir", help="Where the run is kept (default: runs/NAME)."),
    resume: bool = typer.Option(
        False, "--resume", help="Go on where the run stopped; at a constant rate also with more rounds."
    ),
    profile: bool = typer.Option(False, "--profile", help="Measure where the time goes (profile.json)."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything; print memory and cost. Run nothing."),
    allow_code: list[str] = ALLOW_CODE,
) -> None:
    """Fine-tune a model: one run, from its settings to its report."""
    from zorba_ray.config import anchored, load_config

    settings = anchored(load_config(config, [*(overrides or ()), *(["tracking.profile=true"] if profile else ())]))
    path = run_dir or Path("runs") / settings.name
    reward = allowed_reward(settings, config, allow_code)
    if dry_run:
        from zorba_ray.cli.dry_run import preview

        preview(settings, path, reward)
        return
    from zorba_ray.cli.session import lasting
    from zorba_ray.cli.summary import print_summary

    path = lasting(path)
    print_summary(_execute(settings, path, resume, reward), path)


def _execute(settings: "ExperimentConfig", path: Path, resume: bool, reward: "RewardCode | None") -> dict[str, Any]:
    """summary.json of the run, which may have been finished before."""
    from zorba_ray.cli.progress import RunProgress
    from zorba_ray.cli.session import StopFlag
    from zorba_ray.experiment.execute import execute_in

    stop = StopFlag()
    with RunProgress(settings) as progress:
        return execute_in(settings, path, resume, sys.argv, progress.show, stop.is_set, write_run_report, reward)
