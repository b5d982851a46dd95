"""What a run writes when it ends: its report. Here because a run must not know of reports."""

from pathlib import Path


def write_run_report(run_path: Path) -> Path:
    """report.html of one run directory (a `Closing`); crosses to a driver actor by its name.

    Raises:
        RunDirError: as `write_report`.
        OSError: the file cannot be written.
    """
    from zorba_ray.report import write_report

    return write_report([run_path], run_path / "report.html")
