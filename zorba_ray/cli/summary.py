"""The tables at the end of a run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Eval, Summary, record_of
from zorba_ray.cli.terminal import Console
from zorba_ray.config import SCORES
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import figure_name, text_bytes, text_figure, text_span
from zorba_ray.units import format_bytes, format_seconds


def _figure_rows(record: Summary, split: str, start: str, end: str, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """(figure, at the start, at the end, its 95 % interval) for each known figure of a split."""
    before, after = record.evaluations.get(start), record.evaluations.get(end)
    for name in names:
        values = [evaluation and getattr(evaluation, name) for evaluation in (before, after)]
        span = after.intervals.get(name) if after else None
        if values != [None, None]:
            yield (
                f"{split} {figure_name(name)}",
                *(text_figure(name, value) for value in values),
                text_span(name, span.low, span.high) if span else "",
            )


def _rows_note(record: Summary) -> str:
    """The number of rows behind the intervals; empty if there are no intervals."""
    last = {split: record.evaluations.get(end) for split, end in (("validation", "final"), ("test", "test"))}
    counts = [f"{final.rows:,} {split}" for split, final in last.items() if final and final.rows and final.intervals]
    return f"95 % intervals of the end, over {' and '.join(counts)} rows." if counts else ""


def print_summary(summary: dict[str, Any], path: Path) -> None:
    """Prints the last lines of a run, on stdout."""
    from zorba_ray.report.headline import text_privacy
    from zorba_ray.report.run_tables import budgets_table

    console, record = Console(), record_of(Summary, summary, "summary")
    rows: list[tuple[str, ...]] = [
        *_figure_rows(record, "validation", "start", "final", ("loss", "perplexity", "accuracy", *SCORES, "reward")),
        *_figure_rows(record, "test", "start_test", "test", Eval.FIGURES),
        *(
            (f"bytes per client and round, {way}", "", text_bytes(summary[f"bytes_{way}_per_client_round"]), "")
            for way in ("up", "down")
        ),
        *([("privacy", "", text_privacy(record.privacy), "")] if record.privacy else []),
        ("ledger", "", format_bytes(record.ledger_bytes or 0), ""),
        ("time (CPU)", "", f"{format_seconds(record.wall_s)} ({format_seconds(record.cpu_s or 0)})", ""),
    ]
    kept_round = record.kept_round
    kept_note = (
        f", round {kept_round} is kept" if record.status == "finished" and kept_round != record.rounds_done else ""
    )
    table = Table(
        f"{record.method}: {record.rounds_done} rounds, {record.status}{kept_note}",
        rows,
        [
            Column("figure", lambda row: row[0]),
            Column("start", lambda row: row[1], str),
            Column("end", lambda row: row[2], str),
            Column("95 %", lambda row: row[3], str, keep=-1),
        ],
        _rows_note(record),
    )
    console.print(table.terminal(console.width))
    if any(row.budget_bytes for row in record.budgets):
        console.print(budgets_table(record.budgets).terminal(console.width))
    for text in summary["warnings"]:
        console.print(f"warning: {text}", style="yellow", soft_wrap=True)
    console.print(f"θ SHA-256 {summary['weights_sha256']}", soft_wrap=True)
    console.print(f"report {path / 'report.html'}", soft_wrap=True)
