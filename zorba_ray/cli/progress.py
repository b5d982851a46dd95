"""What a run looks like in a terminal: the allocation, a live line per round, the summary."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from zorba_ray.cli.allocation_view import print_map
from zorba_ray.cli.terminal import Console
from zorba_ray.config import ExperimentConfig
from zorba_ray.units import format_bytes, format_seconds


class _BarsWithDetail(Bars):
    """The bar with ETA, and a line of its own below it for the figures: both fit 80 columns."""

    detail = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.detail, overflow="ellipsis", no_wrap=True)


class Progress:
    """Turns metrics records into a live display; on a pipe, one plain line per evaluation."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._console = Console(stderr=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 120)
        self._bars = _BarsWithDetail(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task("round", total=config.rounds)
        self._rounds = config.rounds
        self._share = ""
        self._totals = [0, 0]

    def __enter__(self) -> "Progress":
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    def show(self, event: dict[str, Any]) -> None:
        """One event of the run."""
        kind = event["kind"]
        if kind == "status":
            self._bars.detail = event["text"]
            self._console.print(f"{event['text']} …", style="dim")
        elif kind == "note":
            self._console.print(event["text"], highlight=False, soft_wrap=True)
        elif kind == "allocation":
            print_map(self._console, event)
            shares = [c["bytes"] / c["budget_bytes"] for c in event["clients"] if c["budget_bytes"]]
            label = "simulated" if event["accelerator"] == "simulated" else event["bytes_source"]
            self._share = f" · VRAM ≤ {max(shares):.0%} of budget, {label}" if shares else ""
        elif kind == "round":
            self._show_round(event)
        elif kind == "eval":
            accuracy = "" if event["accuracy"] is None else f"  accuracy {event['accuracy']:.3f}"
            self._console.print(
                f"round {event['round']:>4}/{self._rounds}  {event['split']:<10} loss {event['loss']:.4f}{accuracy}",
                highlight=False,
            )
        elif kind == "profile":
            self._console.print(profile_table(event))

    def _show_round(self, event: dict[str, Any]) -> None:
        self._totals[0] += event["bytes_up"]
        self._totals[1] += event["bytes_down"]
        lost = event["clients_failed"] + event["clients_late"] + len(event["rejected"])
        detail = (
            f"loss {event['loss']:.4f} · {event['clients_ok']} ok"
            + (f", {lost} lost" if lost else "")
            + f" · ↑{format_bytes(self._totals[0])} ↓{format_bytes(self._totals[1])}"
            + self._share
        )
        self._bars.detail = detail
        self._bars.update(self._task, completed=event["round"])
        if lost:
            for client, reason in event["failures"].items():  # of who is rejected a note says so
                self._console.print(f"round {event['round']}: client {client}: {reason}", style="yellow")


def profile_table(record: dict[str, Any]) -> Table:
    """Where the rounds' time went; parts that took none are left out."""
    rounds, workers = record["rounds"], record["workers"]
    where = "one process" if workers is None else f"{workers} workers"
    table = Table(
        title=f"Profile: rounds {rounds['first']}–{rounds['last']}, {where}; "
        f"{format_seconds(record['start_s'])} before them, {format_seconds(record['check_s'])} of it to check pairs",
        title_justify="left",
    )
    table.add_column("part")
    for name in ("seconds", "share", "ms per round", "CPU s"):
        table.add_column(name, justify="right")

    def add(what: str, seconds: float, cpu_s: float, share: str) -> None:
        each = f"{1000 * seconds / rounds['count']:.2f}" if rounds["count"] else "–"
        table.add_row(what, f"{seconds:.3f}", share, each, f"{cpu_s:.3f}")

    for part in record["parts"].values():
        if part["seconds"] or part["cpu_s"]:
            add(part["what"], part["seconds"], part["cpu_s"], f"{part['share']:.1%}")
    table.add_section()
    add("all", record["wall_s"], sum(part["cpu_s"] for part in record["parts"].values()), "100.0%")
    beside = record["worker_commits"]
    if beside["seconds"]:
        add(beside["what"], beside["seconds"], beside["cpu_s"], "–")
    return table


def budgets_table(rows: list[dict[str, Any]]) -> Table:
    """Peak against budget of the fullest client of each class."""
    sources = sorted({row["source"] for row in rows})
    table = Table(title=f"VRAM peak of each class's fullest client, {' and '.join(sources)}", title_justify="left")
    for name in ("class", "blocks live", "peak", "budget", "share", "largest part"):
        table.add_column(name, justify="right" if name in ("peak", "budget", "share") else "left")
    for row in rows:
        budget, part = row["budget_bytes"], row["largest_part"]
        table.add_row(
            f"{row['clients']} × {row['class']}",
            f"frozen {row['frozen']}, master {row['master']}" if row["frozen"] else "–",
            format_bytes(row["peak_bytes"]) + ("" if len(sources) == 1 else f" {row['source']}"),
            "–" if budget is None else format_bytes(budget),
            "–" if budget is None else f"{row['share']:.1%}",
            "–" if part is None else f"{part} {format_bytes(row['largest_part_bytes'])}",
        )
    return table


def print_summary(summary: dict[str, Any], path: Path) -> None:
    """The last lines of a run, on stdout."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(
        title=f"{summary['method']}: {summary['rounds_done']} rounds, {summary['status']}", title_justify="left"
    )
    table.add_column("figure")
    table.add_column("start", justify="right")
    table.add_column("end", justify="right")
    rows = [
        ("validation loss", "start_loss", "final_loss", "{:.4f}"),
        ("validation accuracy", "start_accuracy", "final_accuracy", "{:.3f}"),
        ("test accuracy", "start_test_accuracy", "test_accuracy", "{:.3f}"),
    ]
    for label, first, last, form in rows:
        cells = [form.format(summary[key]) if summary[key] is not None else "–" for key in (first, last)]
        table.add_row(label, *cells)
    for way in ("up", "down"):
        size = summary[f"bytes_{way}_per_client_round"]
        table.add_row(f"bytes per client and round, {way}", "", "–" if size is None else f"{size:.0f}")
    table.add_row("ledger", "", format_bytes(summary["ledger_bytes"]))
    table.add_row("time (CPU)", "", f"{format_seconds(summary['wall_s'])} ({format_seconds(summary['cpu_s'])})")
    console.print(table)
    if summary.get("budgets"):  # a run that an earlier version finished has none
        console.print(budgets_table(summary["budgets"]))
    for text in summary.get("warnings", ()):
        console.print(f"warning: {text}", style="yellow", soft_wrap=True)
    console.print(f"θ SHA-256 {summary['weights_sha256']}", highlight=False, soft_wrap=True)
    console.print(f"report {path / 'report.html'}", highlight=False, soft_wrap=True)
