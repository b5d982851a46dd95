"""`zorba-ray run`: one run from the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zorba_ray.cli.report import write_run_report

if TYPE_CHECKING:
    from zorba_ray.config import ExperimentConfig


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
        _preview(settings)
        return
    from zorba_ray.cli.session import lasting
    from zorba_ray.cli.summary import print_summary

    path = lasting(run_dir or Path("runs") / settings.name)
    print_summary(_execute(settings, path, resume), path)


def _execute(settings: "ExperimentConfig", path: Path, resume: bool) -> dict[str, Any]:
    """summary.json of the run, which may have been finished before."""
    from zorba_ray.cli.progress import RunProgress
    from zorba_ray.cli.session import StopFlag
    from zorba_ray.experiment.execute import execute_in

    stop = StopFlag()
    with RunProgress(settings) as progress:
        return execute_in(settings, path, resume, sys.argv, progress.show, stop.is_set, write_run_report)


def _preview(config: "ExperimentConfig") -> None:
    """Prints the resolved settings, the allocation and the cost of a run; runs nothing and writes nothing."""
    import json

    from zorba_ray.assignment import allocation_record
    from zorba_ray.cli.allocation_view import print_map
    from zorba_ray.cli.terminal import Console
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.experiment.scope import with_scope

    console = Console(soft_wrap=True)
    config, scope = with_scope(config)
    if scope is not None:
        console.print(scope.line())
    console.print_json(json.dumps(config.resolved()))
    setup = prepare(config)
    record = allocation_record(setup, solve_allocation(setup)).tree()
    print_map(console, record)
    passes, blocks = config.passes_per_round, setup.header.blocks
    cost = 0.0
    for client in record["clients"]:
        first = min(client["blocks"], default=blocks)
        cost += (passes * (blocks - first) + config.local_steps * first) / blocks
    console.print(
        f"{config.rounds} rounds × {len(record['clients'])} clients × {passes} forward passes of "
        f"{config.data.batch_size} examples; about {cost:.1f} forward passes of the full model per round with the "
        f"shared prefix ({passes * len(record['clients'])} without)"
    )
