"""The tables that stand at the end of a run."""

from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Summary, record_of
from zorba_ray.cli.terminal import Console
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import NONE, text_bytes
from zorba_ray.units import format_bytes, format_seconds


def print_summary(summary: dict[str, Any], path: Path) -> None:
    """The last lines of a run, on stdout."""
    from zorba_ray.report.run_tables import budgets_table

    console = Console()

    def figure(label: str, key: str, form: str) -> tuple[str, str, str]:
        start, end = summary[f"start_{key.removeprefix('final_')}"], summary[key]
        return label, NONE if start is None else form.format(start), NONE if end is None else form.format(end)

    rows = [
        figure("validation loss", "final_loss", "{:.4f}"),
        figure("validation accuracy", "final_accuracy", "{:.3f}"),
        figure("test accuracy", "test_accuracy", "{:.3f}"),
        *(
            (f"bytes per client and round, {way}", "", text_bytes(summary[f"bytes_{way}_per_client_round"]))
            for way in ("up", "down")
        ),
        ("ledger", "", format_bytes(summary["ledger_bytes"])),
        ("time (CPU)", "", f"{format_seconds(summary['wall_s'])} ({format_seconds(summary['cpu_s'])})"),
    ]
    kept = summary["kept_round"]
    which = f", round {kept} is kept" if summary["status"] == "finished" and kept != summary["rounds_done"] else ""
    table = Table(
        f"{summary['method']}: {summary['rounds_done']} rounds, {summary['status']}{which}",
        rows,
        [
            Column("figure", lambda row: row[0]),
            Column("start", lambda row: row[1], str),
            Column("end", lambda row: row[2], str),
        ],
    )
    console.print(table.terminal(console.width))
    budgets = record_of(Summary, summary, "summary").budgets
    if any(row.budget_bytes for row in budgets):
        console.print(budgets_table(budgets).terminal(console.width))
    for text in summary["warnings"]:
        console.print(f"warning: {text}", style="yellow", soft_wrap=True)
    console.print(f"θ SHA-256 {summary['weights_sha256']}", soft_wrap=True)
    console.print(f"report {path / 'report.html'}", soft_wrap=True)
