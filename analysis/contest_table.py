"""One row per comparison and method: losses, accuracies, paired differences, passes, bytes, VRAM, CPU; two figures.

Reads directories of `zorba-ray compare`. ± is half the 95 % interval of the mean (Student's t over the seeds);
differences are to the first method, seed by seed. The figure has the mean final validation loss above and the paired
difference below, a row per method and a column per comparison. OUT-curves has the losses against forward passes.

    python -m analysis.contest_table runs/compare/trec runs/compare/sst2 -o tables/contest
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import contest_curves
from analysis.command import contest_command
from analysis.contest_curves import names_of, room, title
from analysis.cost import vram_source
from analysis.rows import Cell, Row, Rows, write_csv
from analysis.style import PAGE_IN, letters, look, plain, save, style, unit_of
from zorba_ray.errors import RunDirError
from zorba_ray.report import contest
from zorba_ray.report.contest import ContestRecord, Standing
from zorba_ray.report.contest_page import warnings
from zorba_ray.tables.latex import latex_table

_ROW_IN, _FRAME_IN = 0.2, 0.6
"""Height of a method's row in the figure, and of what stands around a panel."""


def rows(records: Sequence[ContestRecord]) -> Rows:
    """One row per comparison and method, in the order given.

    Raises:
        RunDirError: no method of any comparison has a finished run.
    """
    found, notes = [], []
    for name, record in zip(names_of(records), records, strict=True):
        notes += [f"{name}: {line}" for line in warnings(record)]
        for standing, known in zip(record.standings, contest.rows(record), strict=True):
            found.append(_row(name, record, standing, known))
    if not any(row["n"] for row in found):
        raise RunDirError(f"no finished run in {', '.join(str(record.path) for record in records)}")
    runs = [run for record in records for standing in record.standings for run in standing.runs.values()]
    return Rows(tuple(found), vram_source(runs), tuple(notes))


def _row(name: str, record: ContestRecord, standing: Standing, known: dict[str, Cell]) -> Row:
    """`known`: the row of compare.csv."""
    first = standing is record.standings[0]
    behind = None if first else record.difference(standing)
    run = next(iter(standing.runs.values()), None)
    row: Row = {
        "contest": name,
        "series": standing.method,
        "rate": standing.rate,
        "rate_at_end": record.entry.end_of_ladder(standing.method),
        "rounds": run and run.config.rounds,
        "passes": run and contest.passes_at(run, run.config.rounds),
        "n": len(standing.runs),
        "seeds": _listed(standing.runs),
    }
    for status in ("diverged", "failed", "interrupted"):
        row[status] = _listed(own.seed for own in standing.others if own.status == status)
    row["missing"] = _listed(record.missing(standing))
    for figure in contest.FIGURES:
        row |= {f"{figure}_{part}": known[f"{figure}_{part}"] for part in ("mean", "half")}
    row |= {"difference_mean": behind and behind.mean, "difference_half": behind and behind.half}
    return row | {"pairs": behind.count if behind else 0}


def write(records: Sequence[ContestRecord], found: Rows, out: Path) -> list[Path]:
    """OUT.tex, OUT.pdf, OUT.png, and OUT-curves with the same endings but .tex."""
    path, beside = out.with_name(out.name + ".tex"), out.with_name(out.name + "-curves")
    path.write_text(_latex(found), encoding="utf-8")
    points = contest_curves.rows(records)
    curves = beside.with_name(beside.name + ".csv")
    write_csv(points.rows, curves)
    with style():
        return [path, *save(draw(found), out), *save(contest_curves.draw(points), beside), curves]


def draw(found: Rows) -> Figure:
    """Final loss above, paired difference below; a column per comparison."""
    parts = found.parts("contest")
    methods = list(dict.fromkeys(str(row["series"]) for row in found.rows))
    lists = [[str(row["series"]) for row in part.rows] for _, part in parts]
    figure = Figure(figsize=(PAGE_IN, 2 * (_FRAME_IN + _ROW_IN * max(map(len, lists)))), layout="constrained")
    panels = figure.subplots(2, len(parts), squeeze=False)
    for column, (_, part) in enumerate(parts):
        labels = ("final validation loss", f"final loss minus that of {plain(lists[column][0])}")
        for axes, measure, label in zip(panels[:, column], ("final_loss", "difference"), labels, strict=True):
            _intervals(axes, part, measure, methods)
            axes.set_xlabel(textwrap.fill(label, room(len(parts))))
            axes.xaxis.set_major_locator(MaxNLocator(max(3, 8 // len(parts))))
            axes.tick_params(labelleft=not column or lists[column] != lists[column - 1])
        panels[1][column].axvline(0.0, color="#6b6b6b", linewidth=0.6, linestyle="--")
    letters(panels)
    title(panels[0], [name for name, _ in parts], len(parts))
    return figure


def _intervals(axes: Axes, part: Rows, measure: str, methods: Sequence[str]) -> None:
    """A mark per method, from the top, with its interval; none where nothing is known."""
    mean, half = part.column(f"{measure}_mean"), part.column(f"{measure}_half")
    names = [str(row["series"]) for row in part.rows]
    for place in np.flatnonzero(~np.isnan(mean)):
        kind: dict[str, Any] = look(methods.index(names[place])) | {"linestyle": "none"}
        reach = None if np.isnan(half[place]) else [half[place]]
        axes.errorbar([mean[place]], [place], xerr=reach, capsize=1.8, elinewidth=0.8, **kind)
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)


def _latex(found: Rows) -> str:
    factor, unit = unit_of(found.column("vram_bytes_mean"))
    columns = ["task", "method", "n", "rate", "rounds", "passes", "val. loss", "test acc. (%)", "difference in loss"]
    columns += ["up (B)", "down (B)", f"VRAM ({unit})", "CPU (s)"]
    body = []
    for row in found.rows:
        rate = row["rate"]
        body.append(
            [
                str(row["contest"]), str(row["series"]), str(row["n"]), "–" if rate is None else f"{rate:g}",
                _whole(row["rounds"]), _whole(row["passes"]), _cell(row, "final_loss", 1, 3),
                _cell(row, "test_accuracy", 100, 1), _cell(row, "difference", 1, 3), _whole(row["bytes_up_mean"]),
                _whole(row["bytes_down_mean"]), _mean(row, "vram_bytes", 1 / factor, 2), _whole(row["cpu_s_mean"]),
            ]
        )  # fmt: skip
    caption = (
        "Mean ± half the 95 % interval (Student's t over n seeds) after the last round; difference: final validation "
        "loss minus that of the first method, seed by seed. passes: forward passes of a client, a backward pass "
        "counted as two; a central method's one client makes those of all participants. up, down: a client's bytes "
        f"over the whole run. VRAM: of the client that holds most, {found.vram_source}."
    )
    return latex_table(columns, body, "ll" + "r" * (len(columns) - 2), caption, "tab:contest")


def _listed(seeds: Iterable[int]) -> str:
    return " ".join(map(str, seeds))


def _cell(row: Row, name: str, factor: float, digits: int) -> str:
    """'0.590 ± 0.022'; without ± for one seed; '–' for unknown."""
    text, half = _mean(row, name, factor, digits), row[f"{name}_half"]
    return text if half is None else f"{text} ± {factor * float(half):.{digits}f}"


def _mean(row: Row, name: str, factor: float, digits: int) -> str:
    value = row[f"{name}_mean"]
    return "–" if value is None else f"{factor * float(value):.{digits}f}"


def _whole(value: Cell) -> str:
    return "–" if value is None else f"{float(value):,.0f}"


if __name__ == "__main__":
    raise SystemExit(contest_command(__doc__, rows, write))
