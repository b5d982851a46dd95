"""What a sweep looks like in a terminal: a line per trial that ends, a bar, a table at the end."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from zorba_ray.cli.terminal import Console
from zorba_ray.units import format_bytes, format_seconds

_ENDED = ("finished", "stopped", "failed")


class SweepProgress:
    """Turns the sweep's events into lines."""

    def __init__(self, metrics: Sequence[Any]) -> None:
        self._console = Console(stderr=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 120)
        self._metrics = [metric.name for metric in metrics]
        self._status: dict[int, str] = {}
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task("trials", total=None)

    def __enter__(self) -> "SweepProgress":
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    def show(self, event: dict[str, Any]) -> None:
        """One event of the sweep."""
        if event["kind"] == "status":
            self._console.print(f"{event['text']} …", style="dim")
        elif event["kind"] == "plan":
            self._bars.update(self._task, total=event["trials"], completed=event["ended"])
        elif event["kind"] == "trial":
            self._show_trial(event)

    def _show_trial(self, event: dict[str, Any]) -> None:
        before = self._status.get(event["trial"])
        self._status[event["trial"]] = event["status"]
        if event["status"] == before or event["status"] == "pending":
            return
        text = Text(f"{event['status']:<8} {event['name']}")
        if event["status"] in _ENDED:
            self._bars.advance(self._task)
            text.append("".join(f"  {name} {_shown(name, event['figures'].get(name))}" for name in self._metrics))
            if event["error"]:
                text.append(f"  {event['error'].splitlines()[0]}  log {event['log']}", style="yellow")
        self._console.print(text, soft_wrap=True)


def print_trials(state: Any, path: Path) -> None:
    """All trials on stdout: the finished ones first, the best on top."""
    first = state.metrics[0]
    sign = 1 if first.mode == "min" else -1

    def place(trial: Any) -> tuple[bool, bool, float]:
        value = trial.figures.get(first.name)
        return trial.status != "finished", value is None, 0.0 if value is None else sign * value

    table = Table(
        title=f"{state.name}: {len(state.trials)} trials, {state.status}, {format_seconds(state.wall_s or 0.0)}",
        title_justify="left",
    )
    table.add_column("trial", overflow="fold")
    table.add_column("status")
    names = [metric.name for metric in state.metrics]
    names += [name for name in ("validation_accuracy", "fleet_vram_bytes") if name not in names]
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for trial in sorted(state.trials, key=place):
        table.add_row(trial.name, trial.status, *(_shown(name, trial.figures.get(name)) for name in names))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return format_bytes(value) if name.endswith("bytes") else f"{value:.4g}"
