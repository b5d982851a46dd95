"""`zorba-ray compare`: methods against each other on the same data, with as many forward passes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from zorba_ray.contest.records import Contest


def compare(
    config: str = typer.Argument(help="A configuration of zorba: a YAML file, or a preset."),
    overrides: list[str] = typer.Argument(
        None, help="Settings as key=value; of one method alone as METHOD:key=value, e.g. fedkseed:zo.local_steps=50."
    ),
    methods: str = typer.Option(..., "--methods", metavar="A,B,…", help="Differences are taken to the first."),
    seeds: int = typer.Option(3, "--seeds", metavar="N", help="Seeds 1 … N, the same for every method."),
    directory: Path = typer.Option(None, "--dir", help="Where it is kept (default: runs/compare/NAME)."),
    resume: bool = typer.Option(False, "--resume", help="Run what has not ended; failed runs are tried again."),
    budget: int = typer.Option(
        None, "--budget", metavar="PASSES", help="Forward passes of a client (default: those of CONFIG's own run)."
    ),
    rates: list[str] = typer.Option(
        None, "--rates", metavar="METHOD=R,R", help="Learning rates to try (default: a ladder of three)."
    ),
    no_tuning: bool = typer.Option(False, "--no-tuning", help="Take the configured learning rates."),
    tuning_share: float = typer.Option(0.25, "--tuning-share", help="Share of its rounds that a tuning run makes."),
    targets: str = typer.Option("", "--targets", metavar="L,L", help="Validation losses to reach."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what each method would be given; run nothing."),
    json_out: bool = typer.Option(False, "--json", help="Print compare.json instead of tables."),
) -> None:
    """Compare methods: same data, batches and seeds, equal forward passes, tuned rates, paired differences.

    A method's rounds are the budget divided by its passes per round. A forward and backward pass counts as three. A
    central method has one client and the passes of all participants together.
    """
    from zorba_ray.cli.compare_view import ContestProgress, print_given
    from zorba_ray.config import anchored, load_config
    from zorba_ray.contest.settings import make_settings, split_overrides

    shared, single = split_overrides(overrides or ())
    base = anchored(load_config(config, shared))
    settings = make_settings(methods, seeds, single, rates or (), budget, not no_tuning, tuning_share, targets)
    if dry_run:
        from zorba_ray.contest.plan import plan_contest

        print_given(plan_contest(base, settings, sys.argv, ""))
        return
    from zorba_ray.cli.closing import write_run_report
    from zorba_ray.cli.job import lasting
    from zorba_ray.cli.stop import StopFlag
    from zorba_ray.contest.records import read_contest
    from zorba_ray.contest.run import run_contest
    from zorba_ray.errors import ContestIncomplete, Interrupted

    path = lasting(directory or Path("runs") / "compare" / base.name)
    stop = StopFlag()
    try:
        with ContestProgress() as progress:
            state = run_contest(base, settings, path, resume, sys.argv, progress.show, stop.is_set, write_run_report)
    except (Interrupted, ContestIncomplete):
        _finish(read_contest(path), path, json_out)
        raise
    _finish(state, path, json_out)


def _finish(state: "Contest", path: Path, json_out: bool) -> None:
    """The page is a view: its failure must not turn a finished comparison into a failed one."""
    from zorba_ray.cli.compare_view import print_contest
    from zorba_ray.report import write_report

    if json_out:
        typer.echo(state.model_dump_json(indent=1))
    else:
        print_contest(state)
    try:
        typer.echo(f"report {write_report([path], path / 'compare.html')}", err=json_out)
    except Exception as error:
        typer.echo(f"warning: compare.html could not be written ({error}); try `zorba-ray report {path}`", err=True)
