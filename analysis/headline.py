"""The headline's table and its two figures: test quality against the bytes that a client holds, and that it sends.

Reads directories of `zorba-ray compare`, as `python -m benchmarks headline` leaves them; a row of panels for each. A
full mark is a placement that clients use, an open one another placement with the same quality. Bars are 95 % intervals,
over the seeds where there are three, else over the test rows. The table has a row per method: who fits, what it holds
and sends, and the test figure beside zero-shot and majority class.

    python -m analysis.headline runs/headline/sst2 runs/headline/trec -o docs/figures/headline

`--into FILE` puts the tables into a document too. In it `<!-- headline trec -->` and `<!-- end -->` stand around the
table of the directory `trec`; with `<!-- headline trec short -->` it has fewer columns and no notes.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from analysis.command import drawn_by, make, parser_of
from analysis.comparison_table import latex, load
from analysis.printed import SHEET_IN, letters
from analysis.rows import Row, Rows
from zorba_ray.errors import RunDirError
from zorba_ray.report.comparison import ComparisonRecord, MethodResult
from zorba_ray.report.comparison_points import SENT_AXIS, VRAM_AXIS, Points, draw_points, points_of
from zorba_ray.report.figure import legend
from zorba_ray.report.measures import FIGURES, headline_figure
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import text_bytes, text_figure, text_percent, text_seconds, text_value

Named = tuple[str, ComparisonRecord]
_PANEL_IN = 2.3
_SHORT = ("Method", "Fit", "Largest", "Up", "Down", "Test accuracy", "Test loss")
"""Columns of a short table, as far as it has them."""
_MARKED = re.compile(r"(<!-- headline (\S+?)( short)? -->\n).*?(<!-- end -->)", re.DOTALL)


def rows(named: Sequence[Named]) -> Rows:
    """A row per comparison and method that has a figure.

    Raises:
        RunDirError: none has.
    """
    found: list[Row] = [{"comparison": name} | point.row for name, record in named for point in points_of(record)]
    if not found:
        raise RunDirError(f"no finished run with a test figure in {', '.join(str(record.path) for _, record in named)}")
    return Rows(tuple(found))


def draw(named: Sequence[Named], found: Rows) -> Figure:
    """Quality against memory on the left, against bytes sent on the right."""
    shown = [(name, points) for name, record in named if (points := points_of(record))]
    figure = Figure(figsize=(SHEET_IN, _PANEL_IN * len(shown) + 0.5), layout="constrained")
    panels = figure.subplots(len(shown), 2, squeeze=False)
    for (_, points), (left, right) in zip(shown, panels, strict=True):
        draw_points(left, points, VRAM_AXIS)
        sending = [point for point in points if point.sent is not None]
        if sending:
            draw_points(right, sending, SENT_AXIS)
    most = max(range(len(shown)), key=lambda index: len(shown[index][1]))
    legend(figure, panels[most][0])
    letters(panels.ravel(), [name for name, _ in shown for _ in range(2)])
    return figure


def headline_table(name: str, record: ComparisonRecord) -> Table[MethodResult]:
    """A row per method."""
    points = {point.method: point for point in points_of(record)}
    runs = [result.first_run for result in record.results if result.first_run is not None]
    figure = headline_figure(runs[0]) if runs else "accuracy"

    def quality(result: MethodResult) -> str | None:
        point: Points | None = points.get(result.method)
        if point is None:
            return "no client fits" if result.fitting == 0 else None
        ends = f"{text_figure(figure, point.low)} … {text_figure(figure, point.high)}"
        return f"{text_figure(figure, point.quality)} [{ends}]"

    def over(measure: str, result: MethodResult) -> float | None:
        spread = result.over(FIGURES[measure])
        return None if spread is None else spread.mean

    def share(result: MethodResult) -> float | None:
        return max((held / budget for held, budget in result.held if budget), default=None)

    tests = runs[0].split("test") if runs else ()
    frame = [f"test {figure} before round 1: {text_figure(figure, getattr(test, figure))}" for test in tests[:1]]
    frame += [f"majority class: {text_figure(figure, test.majority.get(figure))}" for test in tests[-1:]]
    return Table(
        f"{name}, {record.entry.passes:,} forward passes of a client",
        record.results,
        [
            Column("Method", lambda result: result.method),
            Column("Fit", lambda result: f"{result.fitting} of {result.fit.clients}" if result.fit else None),
            Column("Data", partial(over, "data_share"), text_percent),
            Column("Largest", lambda result: max((held for held, _ in result.held), default=None), text_bytes),
            Column("Of budget", share, text_percent),
            Column("Up", partial(over, "bytes_up_per_round"), text_bytes),
            Column("Down", partial(over, "bytes_down_per_round"), text_bytes),
            Column("Examples", partial(over, "examples"), text_value),
            Column("Step", lambda result: result.step_seconds, text_seconds),
            Column(f"Test {figure}", quality),
        ],
        "; ".join(frame),
    )


def markdown(table: Table[MethodResult], columns: Sequence[str] | None = None) -> str:
    """The rows for a document; `columns`: names of those that are wanted, all without it."""
    lines = [[column.name for column in table.columns], *table.texts()]
    kept = [index for index, name in enumerate(lines[0]) if columns is None or name in columns]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cells[index] for index in kept)} |\n" for cells in lines)


def conditions(table: Table[MethodResult], record: ComparisonRecord) -> str:
    """The notes of a table: when, at which commit, where and by which command it was made."""
    made = [run.provenance for result in record.results for run in result.runs.values()]
    days = sorted({(entry.started or "")[:10] for entry in made})
    commits = sorted({str((entry.git or {}).get("commit", "unknown"))[:8] for entry in made})
    machine = {key: value for entry in made[:1] for key, value in entry.machine.items() if key in ("cpu", "cores")}
    program, *arguments = record.entry.command or ("",)
    notes = [
        f"{table.note}.",
        f"Made {', '.join(days)}, commit {', '.join(commits)}, {machine.get('cores')} cores of {machine.get('cpu')}.",
        f"Command: `{' '.join([Path(program).parent.name, *arguments])}`.",
    ]
    return "\n".join(notes) + "\n"


def filled(document: str, named: Sequence[Named]) -> str:
    """The document with every table between its marks made anew; tables of other directories stay.

    Raises:
        RunDirError: it has no mark of any of these directories.
    """
    records = {record.path.name: record for _, record in named}

    def made(match: re.Match[str]) -> str:
        start, name, short, end = match.groups()
        if name not in records:
            return match[0]
        table = headline_table(name, records[name])
        text = markdown(table, _SHORT) if short else f"{markdown(table)}\n{conditions(table, records[name])}"
        return f"{start}\n{text}\n{end}"

    if not records.keys() & {match[2] for match in _MARKED.finditer(document)}:
        raise RunDirError(f"no '<!-- headline NAME -->' … '<!-- end -->' of {', '.join(records)} in the document")
    return _MARKED.sub(made, document)


def write(named: Sequence[Named], documents: Sequence[Path], found: Rows, out: Path) -> list[Path]:
    """Prints the tables; OUT.tex, OUT.md, OUT.pdf, OUT.png, and the tables in `documents`.

    Raises:
        RunDirError: a document has no place for any of them.
    """
    from zorba_ray.cli.terminal import Console

    console, path, document = Console(), out.with_name(out.name + ".tex"), out.with_name(out.name + ".md")
    tables = [(name, headline_table(name, record)) for name, record in named]
    for _, table in tables:
        console.print(table.terminal(console.width))
    path.write_text("\n".join(latex(name, table) for name, table in tables), encoding="utf-8")
    texts = (
        f"**{table.caption}**\n\n{markdown(table)}\n{conditions(table, record)}"
        for (_, table), (_, record) in zip(tables, named, strict=True)
    )
    document.write_text("\n".join(texts), encoding="utf-8")
    for other in documents:
        other.write_text(filled(other.read_text(encoding="utf-8"), named), encoding="utf-8")
    return [path, document, *documents, *drawn_by(partial(draw, named))(found, out)]


def main(arguments: Sequence[str] | None = None) -> int:
    """OUT.csv, OUT.tex, OUT.md, OUT.pdf, OUT.png. Returns the exit code."""
    parser = parser_of(__doc__, "directories of zorba-ray compare")
    parser.add_argument("--into", nargs="*", type=Path, default=[], metavar="FILE", help="documents with marks")
    given = parser.parse_args(arguments)
    named: list[Named] = []

    def read() -> Rows:
        named.extend(load(given.dirs))
        return rows(named)

    return make(given.out, read, partial(write, named, given.into))


if __name__ == "__main__":
    raise SystemExit(main())
