"""The tables of comparisons' pages for LaTeX, their numbers as CSV, and final losses with intervals as a figure.

Reads directories of `zorba-ray compare`. ± and bars are half the 95 % interval of the mean (Student's t over the
seeds); differences are to the first method, seed by seed. The figure has the mean final validation loss above and the
paired difference below, a row per method and a column per comparison.

    python -m analysis.comparison_table runs/compare/trec runs/compare/sst2 -o tables/comparison
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.command import drawn_by, make, parser_of
from analysis.printed import SHEET_IN, letters
from analysis.rows import Rows
from zorba_ray.artifacts.run import told_apart
from zorba_ray.errors import RunDirError
from zorba_ray.report.comparison import ComparisonRecord, comparison_rows, load_comparison
from zorba_ray.report.comparison_page import comparison_tables, comparison_warnings
from zorba_ray.report.figure import GREY, look
from zorba_ray.tables import Table

_ROW_IN, _FRAME_IN = 0.2, 0.6
"""Height of a method's row in the figure, and of what stands around a panel."""


def load(paths: Sequence[Path]) -> list[tuple[str, ComparisonRecord]]:
    """The comparisons, each once and under a name of its own."""
    records = [load_comparison(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    return list(zip(told_apart([(record.entry.name, record.path) for record in records]), records, strict=True))


def rows(named: Sequence[tuple[str, ComparisonRecord]]) -> Rows:
    """compare.csv of all of them, with a column that names the comparison; what to doubt is noted.

    Raises:
        RunDirError: no method of any comparison has a finished run.
    """
    found = [{"comparison": name} | row for name, record in named for row in comparison_rows(record)]
    if not any(row["seeds"] for row in found):
        raise RunDirError(f"no finished run in {', '.join(str(record.path) for _, record in named)}")
    notes = [f"{name}: {line}" for name, record in named for line in comparison_warnings(record)]
    return Rows(tuple(found), notes=tuple(notes))


def draw(found: Rows) -> Figure:
    """Final loss above, paired difference below; a column per comparison."""
    parts = found.parts("comparison")
    methods = list(dict.fromkeys(str(row["method"]) for row in found.rows))
    height = 2 * (_FRAME_IN + _ROW_IN * max(len(part.rows) for _, part in parts))
    figure = Figure(figsize=(SHEET_IN, height), layout="constrained")
    panels = figure.subplots(2, len(parts), squeeze=False)
    for column, (_, part) in enumerate(parts):
        labels = ("final validation loss", f"final loss minus\nthat of {part.rows[0]['method']}")
        for axes, measure, label in zip(panels[:, column], ("final_loss", "behind_first"), labels, strict=True):
            _intervals(axes, part, measure, methods)
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(max(3, 8 // len(parts))))
        panels[1][column].axvline(0.0, color=GREY, linewidth=0.6, linestyle="--")
    letters(panels.ravel(), [name for name, _ in parts], int(SHEET_IN * 15 / len(parts)) - 8)
    return figure


def _intervals(axes: Axes, part: Rows, measure: str, methods: Sequence[str]) -> None:
    """A mark per method, from the top, with its interval; none where nothing is known."""
    mean, half = part.column(f"{measure}_mean"), part.column(f"{measure}_half")
    names = [str(row["method"]) for row in part.rows]
    for place in np.flatnonzero(~np.isnan(mean)):
        kind = look(methods.index(names[place])) | {"linestyle": "none", "capsize": 1.8, "elinewidth": 0.8}
        axes.errorbar([mean[place]], [place], xerr=None if np.isnan(half[place]) else [half[place]], **kind)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def latex(name: str, table: Table) -> str:
    """A float with booktabs, for a LaTeX that reads UTF-8; `name`, of the comparison, is its first column."""
    frame = pandas.DataFrame(table.texts(), columns=[column.name for column in table.columns])
    frame.insert(0, "task", name)
    flush = "l" + "".join("r" if column.text else "l" for column in table.columns)
    style = frame.style.hide(axis="index")
    style.format(escape="latex").format_index(escape="latex", axis="columns")
    return style.to_latex(hrules=True, column_format=flush, caption=table.caption, environment="table*")


def write(named: Sequence[tuple[str, ComparisonRecord]], found: Rows, out: Path) -> list[Path]:
    """OUT.tex, OUT.pdf, OUT.png."""
    path = out.with_name(out.name + ".tex")
    tables = [(name, table) for name, record in named for table in comparison_tables(record)]
    path.write_text("\n".join(latex(name, table) for name, table in tables), encoding="utf-8")
    return [path, *drawn_by(draw)(found, out)]


def main(arguments: Sequence[str] | None = None) -> int:
    """OUT.csv, OUT.tex, OUT.pdf, OUT.png. Returns the exit code."""
    given = parser_of(__doc__, "directories of zorba-ray compare").parse_args(arguments)
    named: list[tuple[str, ComparisonRecord]] = []

    def read() -> Rows:
        named.extend(load(given.dirs))
        return rows(named)

    return make(given.out, read, partial(write, named))


if __name__ == "__main__":
    raise SystemExit(main())
