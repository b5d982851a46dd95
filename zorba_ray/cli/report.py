"""`zorba-ray report`: writes an HTML file from run directories or a sweep directory. A run also ends with a report."""

from pathlib import Path

import typer

from zorba_ray.cli.terminal import say


def report(
    run_dirs: list[Path] = typer.Argument(help="One or more run directories, or one sweep directory."),
    out: Path = typer.Option(None, "--out", "-o", help="File to write (default: report.html in the first directory)."),
    rows: bool = typer.Option(True, "--rows/--no-rows", help="Show some test rows and the answers to them."),
) -> None:
    """Write the report of one run, of several runs side by side, or of a sweep, as one HTML file."""
    from zorba_ray.report import write_report

    target = out or run_dirs[0] / "report.html"
    write_report(run_dirs, target, rows)
    say(f"wrote {target}")


def write_run_report(run_path: Path, rows: bool) -> Path:
    """Writes report.html of a run directory when the run ends. A driver actor finds this function by its name.

    Args:
        rows: as of `write_report`.

    Raises:
        RunDirError: as `write_report`.
        OSError: the file cannot be written.
    """
    from zorba_ray.report import write_report

    return write_report([run_path], run_path / "report.html", rows)


def write_page(path: Path, name: str, err: bool = False) -> None:
    """Writes the page of a sweep or comparison to its folder `path`. An error is only a warning, because all runs are
    finished."""
    from zorba_ray.report import write_report

    try:
        say(f"report {write_report([path], path / name)}", err=err)
    except Exception as error:
        say(f"warning: {name} could not be written ({error}); try `zorba-ray report {path}`", err=True)
