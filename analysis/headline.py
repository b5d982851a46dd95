"""The headline's table and its two figures: test quality against the bytes that a client holds, and that it sends.

Reads directories of `zorba-ray compare`, as `python -m benchmarks headline` leaves them; a row of panels for each. A
full mark is a placement that clients use, an open one another placement with the same quality. Bars are 95 % intervals,
over the seeds where there are three, else over the test rows. The table has a row per method: who fits, what it holds
and sends, and the test figure beside zero-shot and majority class.

    python -m analysis.headline runs/headline/sst2 runs/headline/trec -o docs/figures/headline
"""

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


def markdown(table: Table[MethodResult], record: ComparisonRecord) -> str:
    """The table for a document, with its notes: when, at which commit, where and by which command it was made."""
    lines = [[column.name for column in table.columns], ["---"] * len(table.columns), *table.texts()]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
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
    return f"**{table.caption}**\n\n{rows}\n\n" + "\n".join(notes) + "\n"


def write(named: Sequence[Named], found: Rows, out: Path) -> list[Path]:
    """Prints the tables; OUT.tex, OUT.md, OUT.pdf, OUT.png."""
    from zorba_ray.cli.terminal import Console

    console, path, document = Console(), out.with_name(out.name + ".tex"), out.with_name(out.name + ".md")
    tables = [(name, headline_table(name, record)) for name, record in named]
    for _, table in tables:
        console.print(table.terminal(console.width))
    path.write_text("\n".join(latex(name, table) for name, table in tables), encoding="utf-8")
    texts = (markdown(table, record) for (_, table), (_, record) in zip(tables, named, strict=True))
    document.write_text("\n".join(texts), encoding="utf-8")
    return [path, document, *drawn_by(partial(draw, named))(found, out)]


def main(arguments: Sequence[str] | None = None) -> int:
    """OUT.csv, OUT.tex, OUT.md, OUT.pdf, OUT.png. Returns the exit code."""
    given = parser_of(__doc__, "directories of zorba-ray compare").parse_args(arguments)
    named: list[Named] = []

    def read() -> Rows:
        named.extend(load(given.dirs))
        return rows(named)

    return make(given.out, read, partial(write, named))


if __name__ == "__main__":
    raise SystemExit(main())
