"""Writes one HTML file, which loads no other file, for a run, several runs, a sweep, or a comparison."""

from collections.abc import Sequence
from pathlib import Path

from zorba_ray.artifacts import Run
from zorba_ray.artifacts.files import replace_text
from zorba_ray.artifacts.sweep import is_sweep, read_sweep
from zorba_ray.errors import RunDirError
from zorba_ray.report.comparison import is_comparison, load_comparison
from zorba_ray.report.comparison_page import comparison_page
from zorba_ray.report.page import Page, render_page
from zorba_ray.report.run_page import run_page, runs_page
from zorba_ray.report.sweep_page import sweep_page


def write_report(run_dirs: Sequence[str | Path], out: str | Path, rows: bool = True) -> Path:
    """Writes the report of one or several run directories, or of one sweep or comparison, to `out`. Returns `out`.

    An old file is replaced in one step. Links of a sweep's page to its trials are relative to `out`.

    Args:
        rows: the page of a run shows the test rows that it kept.

    Raises:
        RunDirError: no directory; a directory is missing, incomplete or damaged (names the file); a sweep together with
            other directories; `out` is a directory.
        OSError: `out` cannot be written.
    """
    out = Path(out)
    if not run_dirs:
        raise RunDirError("a report needs at least one run directory")
    if out.is_dir():
        raise RunDirError(f"{out} is a directory: name a file for the report, as in {out / 'report.html'}")
    text = render_page(_page(run_dirs, out.parent, rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(out, text.encode(errors="backslashreplace").decode())  # names of folders may hold half pairs
    return out


def _page(run_dirs: Sequence[str | Path], folder: Path, rows: bool) -> Page:
    sweeps = [path for path in run_dirs if is_sweep(path)]
    if sweeps and len(run_dirs) > 1:
        raise RunDirError(
            f"{sweeps[0]} is a sweep, which needs its own report; for trials side by side name their directories, as "
            f"in {sweeps[0]}/trials/NAME"
        )
    if sweeps:
        return sweep_page(read_sweep(sweeps[0]), folder)
    if len(run_dirs) == 1 and is_comparison(run_dirs[0]):
        return comparison_page(load_comparison(run_dirs[0]))
    runs = [Run(path) for path in run_dirs]
    return run_page(runs[0], rows) if len(runs) == 1 else runs_page(runs)
