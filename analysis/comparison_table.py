"""One row per comparison and method: losses, accuracies, paired differences, passes, bytes, VRAM, CPU; two figures.

Reads directories of `zorba-ray compare`. ± is half the 95 % interval of the mean (Student's t over the seeds);
differences are to the first method, seed by seed. The figure has the mean final validation loss above and the paired
difference below, a row per method and a column per comparison. OUT-curves has the losses against forward passes.

    python -m analysis.comparison_table runs/compare/trec runs/compare/sst2 -o tables/comparison
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import comparison_curves
from analysis.command import command, figure
from analysis.headline_table import with_sd
from analysis.rows import Row, Rows
from zorba_ray.artifacts.run import told_apart
from zorba_ray.errors import RunDirError
from zorba_ray.report.comparison import ComparisonRecord, MethodResult, comparison_rows, load_comparison, write_csv
from zorba_ray.report.comparison_page import comparison_warnings
from zorba_ray.report.figure import SHEET_IN, letters, look, unit_of
from zorba_ray.report.measures import FIGURES, passes_at, vram_source
from zorba_ray.tables import Column, Table

_ROW_IN, _FRAME_IN = 0.2, 0.6
"""Height of a method's row in the figure, and of what stands around a panel."""


def load(paths: Sequence[Path]) -> list[tuple[str, ComparisonRecord]]:
    """The comparisons, each under a name of its own; one that is named twice is left out, and said."""
    found: dict[Path, ComparisonRecord] = {}
    for path in paths:
        if path.resolve() in found:
            print(f"left out: {path}: named twice", file=sys.stderr)
        else:
            found[path.resolve()] = load_comparison(path)
    records = list(found.values())
    return list(zip(told_apart([(record.entry.name, record.path) for record in records]), records, strict=True))


def rows(named: Sequence[tuple[str, ComparisonRecord]]) -> Rows:
    """One row per comparison and method, in the order given.

    Raises:
        RunDirError: no method of any comparison has a finished run.
    """
    found, notes = [], []
    for name, record in named:
        notes += [f"{name}: {line}" for line in comparison_warnings(record)]
        known = zip(record.results, comparison_rows(record), strict=True)
        found += [_row(name, record, result, figures) for result, figures in known]
    if not any(row["n"] for row in found):
        raise RunDirError(f"no finished run in {', '.join(str(record.path) for _, record in named)}")
    runs = [run for _, record in named for result in record.results for run in result.runs.values()]
    return Rows(tuple(found), vram_source(runs), tuple(notes))


def _row(name: str, record: ComparisonRecord, result: MethodResult, figures: dict[str, Any]) -> Row:
    """`figures`: the row of compare.csv."""
    behind = None if result is record.results[0] else record.difference(result)
    run = result.first_run
    row: Row = {
        "comparison": name,
        "series": result.method,
        "rate": result.rate,
        "rate_at_end": record.entry.end_of_ladder(result.method),
        "rounds": run and run.config.rounds,
        "passes": run and passes_at(run, run.config.rounds),
        "n": len(result.runs),
        "seeds": _listed(result.runs),
    }
    for status in ("diverged", "failed", "interrupted"):
        row[status] = _listed(cell.seed for cell in result.others if cell.status == status)
    row["missing"] = _listed(record.missing(result))
    row |= {f"{name}_{part}": figures[f"{name}_{part}"] for name in FIGURES for part in ("mean", "half")}
    row |= {"difference_mean": behind and behind.mean, "difference_half": behind and behind.half}
    return row | {"pairs": behind.count if behind else 0}


def _listed(seeds: Iterable[int]) -> str:
    return " ".join(map(str, seeds))


def draw(found: Rows) -> Figure:
    """Final loss above, paired difference below; a column per comparison."""
    parts = found.parts("comparison")
    methods = list(dict.fromkeys(str(row["series"]) for row in found.rows))
    height = 2 * (_FRAME_IN + _ROW_IN * max(len(part.rows) for _, part in parts))
    figure = Figure(figsize=(SHEET_IN, height), layout="constrained")
    panels = figure.subplots(2, len(parts), squeeze=False)
    for column, (_, part) in enumerate(parts):
        labels = ("final validation loss", f"final loss minus\nthat of {part.rows[0]['series']}")
        for axes, measure, label in zip(panels[:, column], ("final_loss", "difference"), labels, strict=True):
            _intervals(axes, part, measure, methods)
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(max(3, 8 // len(parts))))
        panels[1][column].axvline(0.0, color="#6b6b6b", linewidth=0.6, linestyle="--")
    letters(panels.ravel(), [name for name, _ in parts], int(SHEET_IN * 15 / len(parts)) - 8)
    return figure


def _intervals(axes: Axes, part: Rows, measure: str, methods: Sequence[str]) -> None:
    """A mark per method, from the top, with its interval; none where nothing is known."""
    mean, half = part.column(f"{measure}_mean"), part.column(f"{measure}_half")
    names = [str(row["series"]) for row in part.rows]
    for place in np.flatnonzero(~np.isnan(mean)):
        kind = look(methods.index(names[place])) | {"linestyle": "none", "capsize": 1.8, "elinewidth": 0.8}
        axes.errorbar([mean[place]], [place], xerr=None if np.isnan(half[place]) else [half[place]], **kind)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def latex(found: Rows) -> str:
    """The table for a paper."""
    factor, unit = unit_of(np.nanmax(found.column("vram_bytes_mean")))

    def whole(value: object) -> str:
        return f"{float(str(value)):,.0f}"

    columns: list[Column[Row]] = [
        Column("task", lambda row: row["comparison"]),
        Column("method", lambda row: row["series"]),
        Column("n", lambda row: row["n"], str),
        Column("rate", lambda row: row["rate"], "{:g}".format),
        Column("rounds", lambda row: row["rounds"], whole),
        Column("passes", lambda row: row["passes"], whole),
        Column("val. loss", with_sd("final_loss", 3, spread="half"), str),
        Column("test acc. (%)", with_sd("test_accuracy", 1, 100, spread="half"), str),
        Column("difference in loss", with_sd("difference", 3, spread="half"), str),
        Column("up (B)", lambda row: row["bytes_up_mean"], whole),
        Column("down (B)", lambda row: row["bytes_down_mean"], whole),
        Column(f"VRAM ({unit})", lambda row: row["vram_bytes_mean"], lambda value: f"{value / factor:.2f}"),
        Column("CPU (s)", lambda row: row["cpu_s_mean"], whole),
    ]
    caption = (
        "Mean ± half the 95 % interval (Student's t over n seeds) after the last round; difference: final validation "
        "loss minus that of the first method, seed by seed. passes: forward passes of a client, a backward pass "
        "counted as two; a central method's one client makes those of all participants. up, down: a client's bytes "
        f"over the whole run. VRAM: of the client that holds most, {found.vram_source}."
    )
    return Table("", found.rows, columns, caption).latex("tab:comparison")


def main(arguments: Sequence[str] | None = None) -> int:
    """OUT.csv, OUT.tex, OUT.pdf, OUT.png, and OUT-curves with the same endings but .tex."""
    named: list[tuple[str, ComparisonRecord]] = []

    def read(paths: Sequence[Path]) -> Rows:
        named.extend(load(paths))
        return rows(named)

    def write(found: Rows, out: Path) -> list[Path]:
        path, curves = out.with_name(out.name + ".tex"), out.with_name(out.name + "-curves")
        path.write_text(latex(found), encoding="utf-8")
        points = comparison_curves.rows(named)
        table = curves.with_name(curves.name + ".csv")
        write_csv(points.rows, table)
        return [path, *figure(draw)(found, out), *figure(comparison_curves.draw)(points, curves), table]

    return command(__doc__, "directories of zorba-ray compare", read, write, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
