"""`zorba-ray compare`: compares methods with the same number of forward passes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from zorba_ray.cli.allowed_code import ALLOW_CODE, allowed_reward
from zorba_ray.cli.terminal import say

if TYPE_CHECKING:
    from zorba_ray.report.comparison import ComparisonRecord

T = TypeVar("T")


def compare(
    config: str = typer.Argument(help="A YAML file with zorba's settings, or a preset (demo)."),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value."),
    methods: str = typer.Option(
        None, "--methods", help="Methods, with commas between (default: all without backpropagation)."
    ),
    seeds: int = typer.Option(3, "--seeds", help="Runs of each method, with the seeds seed, seed + 1, …"),
    rates: list[str] = typer.Option(None, "--rates", help="Learning rates to choose from: method=1e-4,3e-4."),
    tune_share: float = typer.Option(
        0.25, "--tune-share", help="A rate is chosen by shorter runs: their share of a run's rounds."
    ),
    settings: list[str] = typer.Option(None, "--set", help="A setting of one method: method:key=value."),
    placements: list[str] = typer.Option(
        None, "--placements", help="Where a method may keep its model: method=resident,checkpointed,streamed."
    ),
    folder: Path = typer.Option(None, "--dir", help="Directory of the comparison (default: runs/compare/NAME)."),
    resume: bool = typer.Option(False, "--resume", help="Continue the comparison. Finished runs are not repeated."),
    as_json: bool = typer.Option(False, "--json", help="Print the table as JSON."),
    allow_code: list[str] = ALLOW_CODE,
) -> None:
    """Compare methods with the same data, batches, seeds and forward passes. Each has the best of several rates."""
    from zorba_ray.artifacts import raise_storage_error
    from zorba_ray.campaigns.comparison import open_comparison, plan_comparison, run_comparison
    from zorba_ray.cli.progress import CompareProgress
    from zorba_ray.cli.report import write_page, write_run_report
    from zorba_ray.cli.session import StopFlag, lasting
    from zorba_ray.config import anchored, load_config, load_method, method_names
    from zorba_ray.errors import RunDirError, ZorbaError
    from zorba_ray.report.comparison import comparison_rows, load_comparison, write_comparison_csv

    base = anchored(load_config(config, overrides or []))
    reward = allowed_reward(base, config, allow_code)
    forward_only = (name for name in method_names() if not load_method(name).backward)
    names = tuple(name.strip() for name in (methods or ",".join(forward_only)).split(",") if name.strip())
    tried = _lists("--rates", rates or [], float, "zorba=1e-4,3e-4")
    allowed = _lists("--placements", placements or [], str.strip, "fedit=resident,checkpointed")
    plan = plan_comparison(base, names, seeds, tried, tune_share, _settings(settings or []), allowed)
    path = lasting(folder or Path("runs") / "compare" / base.name)
    directory = open_comparison(path, plan, resume, sys.argv)
    stop, error = StopFlag(), None
    try:
        with CompareProgress() as progress:
            run_comparison(plan, directory, sys.argv, progress.show, stop.is_set, write_run_report, reward)
    except ZorbaError as ended:
        error = ended
    if isinstance(error, RunDirError):  # another process uses the directory, or the user must repair it first
        raise error
    try:
        record = load_comparison(path)
        write_comparison_csv(record, path / "compare.csv")
        if as_json:
            say(json.dumps(comparison_rows(record), indent=1))
        else:
            _print_results(record)
        write_page(path, "compare.html", err=True)
    except (ZorbaError, OSError) as second:
        if error is None:
            raise_storage_error(path, second)
            raise
    if error is not None:
        raise error


def _print_results(record: "ComparisonRecord") -> None:
    """The tables of the page, on stdout."""
    from zorba_ray.cli.terminal import Console
    from zorba_ray.report.comparison_page import comparison_tables, comparison_warnings

    console = Console()
    for table in comparison_tables(record):
        console.print(table.terminal(console.width))
    for line in comparison_warnings(record):
        console.print(line, style="yellow")


def _lists(option: str, texts: list[str], read: Callable[[str], T], example: str) -> dict[str, tuple[T, ...]]:
    """Method -> values, of texts METHOD=VALUE,VALUE."""
    from zorba_ray.errors import ConfigError

    found: dict[str, tuple[T, ...]] = {}
    for text in texts:
        method, sign, listing = text.partition("=")
        try:
            values = tuple(read(value) for value in listing.split(","))
        except ValueError:
            sign, values = "", ()
        if not sign or method in found:
            raise ConfigError(f"{option} {text!r}: write method=value,value once per method, as in {example}")
        found[method] = values
    return found


def _settings(texts: list[str]) -> dict[str, tuple[str, ...]]:
    from zorba_ray.errors import ConfigError

    settings_of: dict[str, tuple[str, ...]] = {}
    for text in texts:
        method, sign, setting = text.partition(":")
        if not sign or "=" not in setting:
            raise ConfigError(f"--set {text!r}: write method:key=value, as in zorba:zo.directions=10")
        settings_of[method] = (*settings_of.get(method, ()), setting)
    return settings_of
