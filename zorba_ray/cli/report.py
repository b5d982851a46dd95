"""`zorba-ray report`: run directories or a sweep directory -> one HTML file."""

from pathlib import Path

import typer

from zorba_ray.cli.terminal import say


def report(
    run_dirs: list[Path] = typer.Argument(help="One or more run directories, or one sweep directory."),
    out: Path = typer.Option(None, "--out", "-o", help="File to write (default: report.html in the first directory)."),
) -> None:
    """Write a self-contained HTML report of one run, of several side by side, or of a sweep."""
    from zorba_ray.report import write_report

    target = out or run_dirs[0] / "report.html"
    write_report(run_dirs, target)
    say(f"wrote {target}")
