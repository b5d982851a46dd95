"""The page: one run, several side by side, or a sweep, in one file that loads nothing else."""

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zorba_ray.artifacts.run import Run, run_names
from zorba_ray.artifacts.sweep import is_sweep, load_sweep
from zorba_ray.errors import RunDirError
from zorba_ray.report import compare, deals, plots, remake, tables
from zorba_ray.report.contest import is_contest, load_contest
from zorba_ray.report.contest_page import contest_page
from zorba_ray.report.page import Detail, Page, Section
from zorba_ray.report.profile import profile_table
from zorba_ray.report.sweep_page import sweep_page


def write_report(run_dirs: Sequence[str | Path], out: str | Path) -> Path:
    """Writes the HTML report of one or several run directories, or of one sweep or comparison, to `out`, replacing
    it at once; returns `out`. Links of a sweep's page to its trials are relative to `out`.

    Raises:
        RunDirError: no directory given; one is missing, incomplete or damaged (names the file); a sweep among several;
            `out` is a directory.
        OSError: `out` cannot be written.
    """
    out = Path(out)
    if not run_dirs:
        raise RunDirError("a report needs at least one run directory")
    if out.is_dir():
        raise RunDirError(f"{out} is a directory: name a file for the report, as in {out / 'report.html'}")
    sweeps = [path for path in run_dirs if is_sweep(path)]
    if sweeps and len(run_dirs) > 1:
        raise RunDirError(
            f"{sweeps[0]} is a sweep: it has a report of its own; runs side by side are named singly, as in "
            f"{sweeps[0]}/trials/NAME"
        )
    if sweeps:
        page = sweep_page(load_sweep(sweeps[0]), out.parent)
    elif len(run_dirs) == 1 and is_contest(run_dirs[0]):
        page = contest_page(load_contest(run_dirs[0]))
    else:
        page = runs_page([Run(path) for path in run_dirs])
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        fresh.write_text(render(page), encoding="utf-8", errors="backslashreplace")
        fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)
    return out


def render(page: Page) -> str:
    """The page as text. Everything that comes from a run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The script holds no data: it is the same on every page, and the page's policy admits it alone, by its hash.
    script = environment.get_template("page.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("page.html.j2")
    return template.render(page=page, script=Markup(script), script_hash=f"sha256-{digest}")


def runs_page(runs: Sequence[Run]) -> Page:
    """Of one run, or of several side by side."""
    return _single(runs[0]) if len(runs) == 1 else _several(runs, run_names(runs))


def _single(run: Run) -> Page:
    first = [tables.clients_table(run), tables.steps_table(run), deals.deals_table(run), deals.blocks_table(run)]
    rest = [tables.time_table(run), profile_table(run)]
    last = [tables.faults_table(run), tables.budgets_table(run), tables.costs_table(run)]
    return Page(
        title=run.config.name,
        lead=tables.sentence(run),
        warnings=tables.warnings(run),
        tiles=tables.tiles(run),
        digest=run.summary.weights_sha256 if run.summary else None,
        sections=[
            Section("Figures", plots=plots.figures_of_run(run, tables.memory_label(run))),
            Section("Tables", tables=[table for table in [*first, *rest, *last] if table is not None and table.rows]),
        ],
        details=[_detail("Settings and provenance", run, opened=True)],
    )


def _several(runs: Sequence[Run], names: Sequence[str]) -> Page:
    found = [compare.comparison_table(runs, names), compare.differences_table(runs, names)]
    return Page(
        title=f"{len(runs)} runs",
        lead=f"Comparison of {', '.join(names)}.",
        warnings=[f"{name}: {text}" for name, run in zip(names, runs, strict=True) for text in tables.warnings(run)],
        tiles=[],
        sections=[
            Section("Figures", plots=plots.figures_of_runs(runs, names)),
            Section("Tables", tables=[table for table in found if table is not None]),
        ],
        details=[_detail(name, run) for name, run in zip(names, runs, strict=True)],
    )


def _detail(name: str, run: Run, opened: bool = False) -> Detail:
    found = [remake.settings_table(run), remake.provenance_table(run)]
    return Detail(name, tables.sentence(run), remake.commands(run), found, opened)
