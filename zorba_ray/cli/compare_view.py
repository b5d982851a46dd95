"""A comparison in a terminal: one line per run, then the tables."""

import sys
from types import TracebackType
from typing import Any

from rich.text import Text

from zorba_ray.cli.terminal import Console
from zorba_ray.report.comparison import ComparisonRecord
from zorba_ray.report.comparison_page import comparison_tables, comparison_warnings
from zorba_ray.tables.text import text_count


class CompareProgress:
    """Says which run is under way, and how it ended."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("starting")
        self._path, self._rounds = "", 0

    def __enter__(self) -> "CompareProgress":
        if self._console.is_terminal:
            self._status.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._status.__exit__(kind, error, trace)

    def show(self, event: dict[str, Any]) -> None:
        """One event of the comparison, or of the run under way."""
        kind = event["kind"]
        if kind == "cell":
            self._path, self._rounds = event["path"], event["rounds"]
            self._console.print(f"{self._path}: {text_count(self._rounds, 'round')}", highlight=False)
        elif kind == "note":
            self._console.print(event["text"], highlight=False, soft_wrap=True)
        elif kind == "round":
            line = f"{self._path}: round {event['round']} of {self._rounds}, loss {event['loss']:.4f}"
            self._status.update(Text(line))  # rich reads markup in plain text here
        elif kind == "eval" and event["round"] == self._rounds:
            accuracy = "" if event["accuracy"] is None else f", accuracy {event['accuracy']:.3f}"
            self._console.print(
                f"{self._path}: {event['split']} loss {event['loss']:.4f}{accuracy}", highlight=False
            )  # fmt: skip


def print_results(record: ComparisonRecord) -> None:
    """The tables of the page, on stdout."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in comparison_tables(record):
        console.print(table.terminal())
    for line in comparison_warnings(record):
        console.print(line, style="yellow")
