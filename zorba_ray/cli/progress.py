"""The progress of a run, a sweep or a comparison in a terminal: a live bar and lines; in a pipe, only lines."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Self

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from zorba_ray.artifacts import Profile, record_of
from zorba_ray.cli.allocation_view import print_map
from zorba_ray.cli.terminal import Console
from zorba_ray.config import SCORES, ExperimentConfig
from zorba_ray.tables.text import figure_name, text_bytes, text_figure


class _Bar(Bars):
    """A bar, and below it a line with figures. Both fit into 80 columns."""

    detail = ""

    def __init__(self, console: Console, what: str, total: int | None) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        super().__init__(*columns, console=console, disable=not console.is_terminal)
        self.task = self.add_task(what, total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.detail:
            yield Text(self.detail, overflow="ellipsis", no_wrap=True)


class _Progress:
    """A console with a bar below its lines. As a context manager it shows the bar."""

    def __init__(self, what: str, total: int | None = None, stderr: bool | None = None) -> None:
        self.console = Console(stderr=not sys.stdout.isatty() if stderr is None else stderr)
        self.bar = _Bar(self.console, what, total)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Shows one event."""
        if event["kind"] == "status":
            self.bar.detail = event["text"]
            self.console.print(f"{event['text']} …", style="dim")
        elif event["kind"] == "note":
            self.console.print(event["text"], soft_wrap=True)


class RunProgress(_Progress):
    """The allocation, a live line per round, a line per evaluation."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__("round", config.rounds)
        self._rounds = config.rounds
        self._share = ""
        self._up = self._down = 0

    def show(self, event: dict[str, Any]) -> None:
        super().show(event)
        kind = event["kind"]
        if kind == "allocation":
            print_map(self.console, event)
            shares = [c["bytes"] / c["budget_bytes"] for c in event["clients"] if c["budget_bytes"]]
            label = "simulated" if event["accelerator"] == "simulated" else event["bytes_source"]
            self._share = f" · VRAM ≤ {max(shares):.0%} of budget, {label}" if shares else ""
        elif kind == "round":
            self._show_round(event)
        elif kind == "eval":
            self.console.print(f"round {event['round']:>4}/{self._rounds}  {event['split']:<10} {_evaluated(event)}")
        elif kind == "profile":
            from zorba_ray.report.run_tables import profile_table

            profile = record_of(Profile, event, "profile")
            self.console.print(profile_table(profile).terminal(self.console.width))

    def _show_round(self, event: dict[str, Any]) -> None:
        self._up += event["bytes_up"]
        self._down += event["bytes_down"]
        lost = event["clients_failed"] + event["clients_late"] + len(event["rejected"])
        self.bar.detail = (
            f"{_training_loss(event)} · {event['clients_ok']} ok"
            + (f", {lost} lost" if lost else "")
            + f" · ↑{text_bytes(self._up)} ↓{text_bytes(self._down)}{self._share}"
        )
        self.bar.update(self.bar.task, completed=event["round"])
        for client, reason in event["failures"].items():  # for rejected clients there is a note
            self.console.print(f"round {event['round']}: client {client}: {reason}", style="yellow")


class SweepProgress(_Progress):
    """A line per trial that begins or ends.

    Args:
        metrics: names of the figures in the line of a trial that ended.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        super().__init__("trials")
        self._metrics = metrics
        self._status: dict[int, str] = {}

    def show(self, event: dict[str, Any]) -> None:
        super().show(event)
        if event["kind"] == "plan":
            self.bar.update(self.bar.task, total=event["trials"], completed=event["ended"])
        elif event["kind"] == "trial" and event["status"] not in ("pending", self._status.get(event["trial"])):
            self._status[event["trial"]] = event["status"]
            text = Text(f"{event['status']:<8} {event['name']}")
            if event["status"] in ("finished", "stopped", "diverged", "failed"):
                self.bar.advance(self.bar.task)
                text.append(
                    "".join(f"  {name} {text_figure(name, event['figures'].get(name))}" for name in self._metrics)
                )
                if event["error"]:
                    text.append(f"  {event['error'].splitlines()[0]}  log {event['log']}", style="yellow")
            self.console.print(text, soft_wrap=True)


class CompareProgress(_Progress):
    """A line per run of a comparison that begins or ends."""

    def __init__(self) -> None:
        super().__init__("round", stderr=True)
        self._path, self._rounds = "", 0

    def show(self, event: dict[str, Any]) -> None:
        super().show(event)
        if event["kind"] == "cell":
            self._path, self._rounds = event["path"], event["rounds"]
            self.bar.reset(self.bar.task, total=self._rounds, description=self._path)
            self.console.print(f"{self._path}: {self._rounds} rounds")
        elif event["kind"] == "round":
            self.bar.detail = _training_loss(event)
            self.bar.update(self.bar.task, completed=event["round"])
        elif event["kind"] == "eval" and event["round"] == self._rounds:
            self.console.print(f"{self._path}: {event['split']} {_evaluated(event)}")


def _training_loss(event: dict[str, Any]) -> str:
    return "loss not told" if event["loss"] is None else f"loss {event['loss']:.4f}"


def _evaluated(event: dict[str, Any]) -> str:
    accuracy = "" if event["accuracy"] is None else f"  accuracy {event['accuracy']:.3f}"
    scores = [f"  {figure_name(name)} {event[name]:.3f}" for name in SCORES if event.get(name) is not None]
    reward = "" if event.get("reward") is None else f"  reward {event['reward']:.4f}"
    return f"loss {event['loss']:.4f}{accuracy}{''.join(scores[:2])}{reward}"
