"""`zorba-ray run`: one run from the terminal."""

import sys
from pathlib import Path
from typing import Any

import typer

from zorba_ray.cli.closing import write_run_report


def run(
    config: str = typer.Argument(help="A YAML file, or a preset: demo."),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. zo.lr=0.02 federation.mode=pinned."),
    run_dir: Path = typer.Option(None, "--run-dir", help="Where the run is kept (default: runs/NAME)."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the run directory's ledger."),
    profile: bool = typer.Option(False, "--profile", help="Measure where the rounds' time goes (profile.json)."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print settings, allocation and cost; run nothing."),
) -> None:
    """Fine-tune: allocate blocks, run the rounds, evaluate, report."""
    from zorba_ray.config import anchored, load_config

    settings = anchored(load_config(config, [*(overrides or ()), *(["tracking.profile=true"] if profile else ())]))
    if dry_run:
        from zorba_ray.cli.preview import preview

        preview(settings)
        return
    from zorba_ray.cli.job import lasting

    path = lasting(run_dir or Path("runs") / settings.name)
    summary = _execute(settings, path, resume)
    from zorba_ray.cli.progress import print_summary

    print_summary(summary, path)


def _execute(settings: Any, path: Path, resume: bool) -> dict[str, Any]:
    from zorba_ray.cli.progress import Progress
    from zorba_ray.cli.stop import StopFlag
    from zorba_ray.experiment.execute import execute_in

    stop = StopFlag()
    with Progress(settings) as progress:
        return execute_in(settings, path, resume, sys.argv, progress.show, stop.is_set, write_run_report)
