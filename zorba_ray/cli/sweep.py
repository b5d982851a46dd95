"""`zorba-ray sweep`: runs many trials on Ray Tune."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zorba_ray.cli.allowed_code import ALLOW_CODE, allowed_rewards

if TYPE_CHECKING:
    from zorba_ray.config import SweepConfig


def sweep(
    file: str = typer.Argument(help="A sweep file, e.g. tune_configs/sweeps/epsilon.yaml."),
    overrides: list[str] = typer.Argument(
        None, help="Settings of the run as key=value, or of the sweep as sweep.key=value, e.g. sweep.concurrency=1."
    ),
    sweep_dir: Path = typer.Option(None, "--sweep-dir", help="Directory of the sweep (default: runs/sweeps/NAME)."),
    resume: bool = typer.Option(False, "--resume", help="Continue the sweep. Failed trials are tried again."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="List the trials and the CPUs and GPUs of each. Run nothing."
    ),
    allow_code: list[str] = ALLOW_CODE,
) -> None:
    """Vary the settings of a run. Every trial is an ordinary run; one report compares them."""
    from zorba_ray.config import load_sweep
    from zorba_ray.config.sweep import named_rewards

    settings, base = load_sweep(file, overrides or ())
    rewards = allowed_rewards(named_rewards(settings, base), file, allow_code)
    if dry_run:
        _preview(settings, base)
        return
    from zorba_ray.cli.progress import SweepProgress
    from zorba_ray.cli.report import write_page, write_run_report
    from zorba_ray.cli.session import StopFlag, lasting
    from zorba_ray.errors import Interrupted, SweepIncomplete
    from zorba_ray.federation.ray_session import set_ray_environment

    set_ray_environment(os.environ.get("RAY_ADDRESS"))
    from zorba_ray.campaigns.sweep import run_sweep

    path = lasting(sweep_dir or Path("runs") / "sweeps" / settings.name)
    stop, ended = StopFlag(), None
    try:
        with SweepProgress([metric.name for metric in settings.metric]) as progress:
            run_sweep(settings, base, path, resume, sys.argv, progress.show, stop.is_set, write_run_report, rewards)
    except (Interrupted, SweepIncomplete) as error:
        ended = error
    _print_best(path)
    write_page(path, "report.html")
    if ended is not None:
        raise ended


def _print_best(path: Path) -> None:
    """Prints how the sweep ended, and the table of the best configurations, on stdout."""
    from zorba_ray.artifacts.sweep import read_sweep
    from zorba_ray.cli.terminal import Console
    from zorba_ray.report.sweep_page import configurations
    from zorba_ray.report.trials import group_trials

    console, record = Console(), read_sweep(path)
    console.print(f"{record.name}: {len(record.trials)} trials, {record.status}", highlight=False)
    for table in configurations(record, group_trials(record)):
        console.print(table.terminal(console.width))


def _preview(settings: "SweepConfig", base: dict[str, Any]) -> None:
    """Prints a line per trial with its resources."""
    from zorba_ray.campaigns.sweep.plan import plan_trials
    from zorba_ray.campaigns.sweep.resources import trial_needs
    from zorba_ray.cli.terminal import Console
    from zorba_ray.errors import ConfigError
    from zorba_ray.tables import Column, Table

    if settings.search.type == "optuna":
        raise ConfigError(
            "--dry-run: search.type=optuna proposes trials while it runs, so they cannot be listed; drop --dry-run"
        )
    table = Table(
        f"{settings.name}: {settings.question}",
        [(plan.name, trial_needs(plan.config, None)) for plan in plan_trials(settings, base)],
        [
            Column("trial", lambda trial: trial[0]),
            Column("CPU", lambda trial: trial[1].cpus, str),
            Column("GPU", lambda trial: trial[1].gpus, str),
            Column("bundles", lambda trial: len(trial[1].bundles), str),
        ],
    )
    console = Console()
    console.print(table.terminal(console.width))
