"""`zorba-ray run`: one run from the terminal."""

import signal
import sys
from pathlib import Path
from typing import Any

import typer


def run(
    config: str = typer.Argument(help="A YAML file, or a preset: demo."),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. zo.lr=0.02 federation.mode=pinned."),
    run_dir: Path = typer.Option(None, "--run-dir", help="Where the run is kept [default: runs/NAME]."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the run directory's ledger."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print settings, allocation and cost; run nothing."),
) -> None:
    """Fine-tune: allocate blocks, run the rounds, evaluate, report."""
    from zorba_ray.config import load_config

    settings = load_config(config, overrides)
    if dry_run:
        from zorba_ray.cli.preview import preview

        preview(settings)
        return
    from zorba_ray.cli.job import lasting

    path = lasting(run_dir or Path("runs") / settings.name)
    summary = _execute(settings, path, resume)
    _write_report(path)
    from zorba_ray.cli.progress import print_summary

    print_summary(summary, path)


def _execute(settings: Any, path: Path, resume: bool) -> dict[str, Any]:
    from zorba_ray.cli.progress import Progress
    from zorba_ray.errors import RunDirError
    from zorba_ray.experiment.rundir import RunDir
    from zorba_ray.federation.accelerator import choose_accelerator, gpu_count

    accelerator = choose_accelerator(settings)
    if resume:
        if not path.is_dir():
            raise RunDirError(f"--resume: there is no run directory {path}")
        directory = RunDir.reopen(path, settings)
        if directory.summary.exists():
            summary = directory.read_json(directory.summary)
            if summary["status"] == "finished":
                typer.echo(f"{path} is finished; nothing to resume")
                return summary
    else:
        directory = RunDir.create(path, settings)
    stop = _StopFlag()
    with Progress(settings) as progress:
        if settings.federation.backend == "sequential":
            from zorba_ray.experiment.run import run_experiment, sequential_backend

            return run_experiment(
                settings, directory, sequential_backend, accelerator, sys.argv, progress.show, stop.is_set
            )
        from zorba_ray.experiment.on_ray import ENTRY, driver_payload, fleet_actors
        from zorba_ray.federation.ray_session import ray_session

        specs = fleet_actors(settings, accelerator)
        progress.show({"kind": "status", "text": "starting Ray"})
        with ray_session(settings.federation.address, specs, gpu_count(settings) if accelerator == "cuda" else None):
            from zorba_ray.federation.ray_driver import launch

            payload = driver_payload(settings.resolved(), directory.path, accelerator, sys.argv)
            return launch(ENTRY, payload, progress.show, stop.is_set)


class _StopFlag:
    """The first SIGINT or SIGTERM asks for a stop after the round in progress; a second SIGINT breaks off."""

    def __init__(self) -> None:
        self._set = False
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._set and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._set = True
        typer.echo("stopping after this round (Ctrl-C again: at once); the ledger keeps every finished round", err=True)

    def is_set(self) -> bool:
        return self._set


def _write_report(path: Path) -> None:
    """The report is a view of the run directory: its failure must not turn a finished run into a failed one."""
    from zorba_ray.report import write_report

    try:
        write_report([path], path / "report.html")
    except Exception as error:
        typer.echo(f"warning: report.html could not be written ({error}); try `zorba-ray report {path}`", err=True)
