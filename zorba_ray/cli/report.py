"""`zorba-ray report`: run directories, a sweep or a comparison -> one HTML file."""

from pathlib import Path

import typer


def report(
    run_dirs: list[Path] = typer.Argument(
        help="One or more run directories, or one directory of a sweep or comparison."
    ),
    out: Path = typer.Option(None, "--out", "-o", help="File to write (default: report.html in the first directory)."),
) -> None:
    """Write a self-contained HTML report of one run, of several side by side, of a sweep, or of a comparison."""
    from zorba_ray.report import write_report

    target = out or run_dirs[0] / "report.html"
    write_report(run_dirs, target)
    typer.echo(f"wrote {target}")
