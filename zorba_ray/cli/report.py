"""`zorba-ray report`: run directories -> one HTML file."""

from pathlib import Path

import typer


def report(
    run_dirs: list[Path] = typer.Argument(help="One or more run directories."),
    out: Path = typer.Option(
        None, "--out", "-o", help="File to write [default: report.html in the first run directory]."
    ),
) -> None:
    """Write a self-contained HTML report of one run, or of several side by side."""
    from zorba_ray.report import write_report

    target = out or run_dirs[0] / "report.html"
    write_report(run_dirs, target)
    typer.echo(f"wrote {target}")
