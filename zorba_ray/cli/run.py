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
    from zorba_ray.errors import RunDirError
    from zorba_ray.experiment.rundir import RunDir
    from zorba_ray.federation.accelerator import choose_accelerator, gpu_count, with_counted_gpus

    accelerator = choose_accelerator(settings)
    settings = with_counted_gpus(settings, accelerator)
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
    stop = StopFlag()
    with Progress(settings) as progress:
        if settings.federation.backend == "sequential":
            from zorba_ray.experiment.backends import sequential_backend
            from zorba_ray.experiment.run import run_experiment

            return run_experiment(
                settings,
                directory,
                sequential_backend,
                accelerator,
                sys.argv,
                progress.show,
                stop.is_set,
                write_run_report,
            )
        from zorba_ray.experiment.on_ray import ENTRY, driver_payload, fleet_actors
        from zorba_ray.federation.placement import cpus_needed, gpus_needed
        from zorba_ray.federation.ray_session import ray_session, require_capacity

        specs = fleet_actors(settings, accelerator)
        progress.show({"kind": "status", "text": "starting Ray"})
        gpus = gpu_count(settings) if accelerator == "cuda" else gpus_needed(specs)
        with ray_session(settings.federation.address, cpus_needed(specs) + 1, gpus) as resources:
            from zorba_ray.federation.ray_driver import launch

            require_capacity(specs, resources)
            payload = driver_payload(settings.resolved(), directory.path, accelerator, sys.argv, write_run_report)
            return launch(ENTRY, payload, progress.show, stop.is_set)
