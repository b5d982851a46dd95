"""What a comparison looks like in a terminal: a bar over its runs, a line per run that ends, tables at the end."""

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from zorba_ray.contest.records import Contest
from zorba_ray.contest.texts import Grid, given, grids
from zorba_ray.units import format_seconds


class ContestProgress:
    """Turns the comparison's events into lines, on stderr: stdout is for the tables."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task("runs", total=None)

    def __enter__(self) -> "ContestProgress":
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    def show(self, event: dict[str, Any]) -> None:
        """One event of the comparison or of the run under way."""
        kind = event["kind"]
        if kind == "plan":
            self._bars.update(self._task, total=event["runs"], completed=event["ended"])
        elif kind == "cell":
            self._show_run(event)
        elif kind == "chosen":
            rate = "none ran to its end" if event["rate"] is None else f"{event['rate']:g}"
            self._console.print(Text(f"{event['method']}: learning rate {rate}"))
        elif kind == "note":
            self._console.print(Text(event["text"]), soft_wrap=True)
        elif kind == "round":
            self._bars.update(self._task, description=f"{self._now} round {event['round']}")

    _now = "runs"

    def _show_run(self, event: dict[str, Any]) -> None:
        if event["status"] == "running":
            self._now = event["run"]
            self._bars.update(self._task, description=self._now)
            return
        self._bars.advance(self._task)
        text = Text(f"{event['status']:<8} {event['run']}")
        if event.get("loss") is not None:
            text.append(f"  loss {event['loss']:.4f}")
        if event["error"]:
            text.append(f"  {event['error'].splitlines()[0]}", style="yellow")
        self._console.print(text, soft_wrap=True)


def print_contest(state: Contest) -> None:
    """All tables on stdout."""
    runs = len(state.cells)
    console = _console()
    console.print(
        Text(f"{state.name}: {len(state.contestants)} methods, {runs} compared runs, {state.status}, "
             f"{format_seconds(state.wall_s)}")
    )  # fmt: skip
    for grid in grids(state):
        _print(console, grid)


def print_given(state: Contest) -> None:
    """What each method would be given."""
    _print(_console(), given(state))


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160)


def _print(console: Console, grid: Grid) -> None:
    table = Table(title=grid.title, title_justify="left", caption=Text(grid.note), caption_justify="left")
    for place, name in enumerate(grid.columns):
        table.add_column(name, justify="left" if place == 0 else "right", overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    console.print(table)
