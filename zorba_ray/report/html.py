"""The page: figures, tables and text of one run, or of several side by side, in one file that loads nothing else."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zorba_ray.errors import RunDirError
from zorba_ray.report import compare, plots, tables
from zorba_ray.report.load import RunRecord, labels, load_run


def write_report(run_dirs: Sequence[str | Path], out: str | Path) -> Path:
    """Writes the HTML report of one or several run directories to `out`, replacing it at once; returns `out`.

    Raises:
        RunDirError: no directory given; one is missing, incomplete or damaged (names the file); `out` is a directory.
        OSError: `out` cannot be written.
    """
    out = Path(out)
    if not run_dirs:
        raise RunDirError("a report needs at least one run directory")
    if out.is_dir():
        raise RunDirError(f"{out} is a directory: name a file for the report, as in {out / 'report.html'}")
    runs = [load_run(path) for path in run_dirs]
    page = render(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        fresh.write_text(page, encoding="utf-8")
        fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)
    return out


def render(runs: Sequence[RunRecord]) -> str:
    """The page as text. Everything that comes from a run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = labels(runs)
    template = environment.get_template("page.html.j2")
    if len(runs) == 1:
        return template.render(**_single(runs[0]))
    return template.render(**_several(runs, names))


def _single(run: RunRecord) -> dict[str, Any]:
    first = [tables.clients_table(run), tables.steps_table(run), tables.time_table(run)]
    rest = [tables.faults_table(run), tables.costs_table(run)]
    return {
        "title": run.config.name,
        "lead": tables.sentence(run),
        "warnings": [text for text in [tables.state(run)] if text],
        "tiles": tables.tiles(run),
        "digest": run.summary.weights_sha256 if run.summary else None,
        "figures": plots.figures_of_run(run, tables.memory_label(run)),
        "tables": [table for table in [*first, *rest] if table is not None and table.rows],
        "details": [_detail("Settings and provenance", run)],
    }


def _several(runs: Sequence[RunRecord], names: Sequence[str]) -> dict[str, Any]:
    found = [compare.comparison_table(runs, names), compare.differences_table(runs, names)]
    states = [(name, tables.state(run)) for name, run in zip(names, runs, strict=True)]
    return {
        "title": f"{len(runs)} runs",
        "lead": f"Comparison of {', '.join(names)}.",
        "warnings": [f"{name}: {text}" for name, text in states if text],
        "tiles": [],
        "digest": None,
        "figures": plots.figures_of_runs(runs, names),
        "tables": [table for table in found if table is not None],
        "details": [_detail(name, run) for name, run in zip(names, runs, strict=True)],
    }


def _detail(name: str, run: RunRecord) -> dict[str, Any]:
    return {
        "name": name,
        "lead": tables.sentence(run),
        "commands": tables.commands(run),
        "tables": [tables.settings_table(run), tables.provenance_table(run)],
    }
