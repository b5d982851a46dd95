"""The tables that stand at the end of a run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Eval, Summary, record_of
from zorba_ray.cli.terminal import Console
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import figure_name, text_bytes, text_figure, text_span
from zorba_ray.units import format_bytes, format_seconds


def _figure_rows(record: Summary, split: str, start: str, end: str, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """(figure, at the start, at the end, its 95 % interval) of what is known of a split."""
    before, after = record.evaluations.get(start), record.evaluations.get(end)
    for name in names:
        values = [each and getattr(each, name) for each in (before, after)]
        span = after.intervals.get(name) if after else None
        if values != [None, None]:
            yield (
                f"{split} {figure_name(name)}",
                *(text_figure(name, value) for value in values),
                text_span(name, span.low, span.high) if span else "",
            )


def _rows_note(record: Summary) -> str:
    """On how many rows the intervals rest; empty where there is none."""
    known = {split: record.evaluations.get(end) for split, end in (("validation", "final"), ("test", "test"))}
    told = [f"{last.rows:,} {split}" for split, last in known.items() if last and last.rows and last.intervals]
    return f"95 % intervals of the end, over {' and '.join(told)} rows." if told else ""


def print_summary(summary: dict[str, Any], path: Path) -> None:
    """The last lines of a run, on stdout."""
    from zorba_ray.report.run_tables import budgets_table

    console, record = Console(), record_of(Summary, summary, "summary")
    rows: list[tuple[str, ...]] = [
        *_figure_rows(record, "validation", "start", "final", ("loss", "perplexity", "accuracy", "reward")),
        *_figure_rows(record, "test", "start_test", "test", Eval.FIGURES),
        *(
            (f"bytes per client and round, {way}", "", text_bytes(summary[f"bytes_{way}_per_client_round"]), "")
            for way in ("up", "down")
        ),
        ("ledger", "", format_bytes(record.ledger_bytes or 0), ""),
        ("time (CPU)", "", f"{format_seconds(record.wall_s)} ({format_seconds(record.cpu_s or 0)})", ""),
    ]
    kept = record.kept_round
    which = f", round {kept} is kept" if record.status == "finished" and kept != record.rounds_done else ""
    table = Table(
        f"{record.method}: {record.rounds_done} rounds, {record.status}{which}",
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
