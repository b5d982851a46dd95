"""`zorba-ray sweep`: many runs on Ray Tune."""

import os
import sys
from pathlib import Path
from typing import Any

import typer

from zorba_ray.cli.terminal import say


def sweep(
    file: str = typer.Argument(help="A sweep file, e.g. tune_configs/sweeps/epsilon.yaml."),
    overrides: list[str] = typer.Argument(
        None, help="Settings of the run as key=value, or of the sweep as sweep.key=value, e.g. sweep.concurrency=1."
    ),
    sweep_dir: Path = typer.Option(None, "--sweep-dir", help="Where the sweep is kept (default: runs/sweeps/NAME)."),
    resume: bool = typer.Option(False, "--resume", help="Run what is not finished; failed trials are tried again."),
    dry_run: bool = typer.Option(False, "--dry-run", help="List the trials and what each would reserve; run nothing."),
) -> None:
    """Vary the settings of a run: every trial an ordinary run directory, resumable, compared in one report."""
    from zorba_ray.config import load_sweep

    settings, base = load_sweep(file, overrides or ())
    if dry_run:
        _preview(settings, base)
        return
    from zorba_ray.cli.closing import write_run_report
    from zorba_ray.cli.job import lasting
    from zorba_ray.cli.stop import StopFlag
    from zorba_ray.cli.sweep_progress import SweepProgress
    from zorba_ray.errors import Interrupted, SweepIncomplete
    from zorba_ray.federation.ray_session import set_ray_environment

    federation = base.get("federation")
    address = federation.get("address") if isinstance(federation, dict) else None
    set_ray_environment(address or os.environ.get("RAY_ADDRESS"))
    from zorba_ray.campaigns.sweep import run_sweep

    path = lasting(sweep_dir or Path("runs") / "sweeps" / settings.name)
    stop = StopFlag()
    try:
        with SweepProgress(settings.metric) as progress:
            run_sweep(settings, base, path, resume, sys.argv, progress.show, stop.is_set, write_run_report)
    except (Interrupted, SweepIncomplete):
        _finish(path)
        raise
    _finish(path)


def _finish(path: Path) -> None:
    """The report is a view: its failure must not turn a finished sweep into a failed one."""
    from zorba_ray.artifacts.campaigns import Sweep, read_campaign
    from zorba_ray.cli.sweep_progress import print_trials
    from zorba_ray.report import write_report

    print_trials(read_campaign(path, Sweep), path)
    try:
        say(f"report {write_report([path], path / 'report.html')}")
    except Exception as error:
        say(f"warning: report.html could not be written ({error}); try `zorba-ray report {path}`", err=True)


def _preview(settings: Any, base: dict[str, Any]) -> None:
    from rich.table import Table

    from zorba_ray.campaigns.sweep.plan import plan_trials
    from zorba_ray.campaigns.sweep.resources import trial_needs
    from zorba_ray.cli.terminal import Console
    from zorba_ray.errors import ConfigError

    if settings.search.type == "optuna":
        raise ConfigError("--dry-run: search.type=optuna proposes its trials as it runs; there is no list to show")
    table = Table(title=f"{settings.name}: {settings.question}", title_justify="left")
    for name in ("trial", "CPU", "GPU", "bundles"):
        table.add_column(name, justify="left" if name == "trial" else "right", overflow="fold")
    for plan in plan_trials(settings, base):
        needs = trial_needs(plan.config, None)
        table.add_row(plan.name, str(needs.cpus), str(needs.gpus), str(len(needs.bundles)))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
