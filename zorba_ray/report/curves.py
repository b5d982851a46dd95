"""Curves of evaluations, for a run, runs side by side, a sweep's configurations, and compared methods.

Runs with different data or models are never drawn on one axis (`apart`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zorba_ray.artifacts import Run
from zorba_ray.report import measures
from zorba_ray.report.figure import GREY, INK, Plot, bytes_axis, legend, look, percent, plot, whole_rounds
from zorba_ray.tables.text import figure_name, text_percent


@dataclass(frozen=True)
class Line:
    """One line of a figure: the mean over runs that differ only in their seed. Each run is drawn as a thin line."""

    name: str
    runs: Sequence[Run]
    split: str = "validation"
    interval: bool = False
    """Whether to draw the 95 % interval of accuracies over the rows of the split; for a single run."""


@dataclass(frozen=True)
class Cost:
    """The horizontal axis: rounds, forward passes or bytes."""

    label: str
    at: Callable[[Run, int], float | None]
    """(run, round) -> position on the axis; None for every round if it is not known."""
    log: bool = False


def bytes_at(run: Run, round: int) -> float | None:
    """Bytes of a client, up and down, spread evenly over the rounds."""
    up, down = (measures.bytes_of_client(run, way) for way in ("up", "down"))
    return None if up is None or down is None else (up + down) * round / max(run.rounds_done, 1)


ROUNDS = Cost("round (0: zero-shot)", lambda run, round: float(round))
BYTES = Cost("bytes per client, up and down", bytes_at, log=True)


def task_of(run: Run) -> str:
    """Model and data in words. Losses and accuracies of runs with another model or data cannot be compared."""
    model = run.config.model
    return f"{model.path}{f' at {model.revision}' if model.revision else ''} on {run.config.data.path}"


def apart(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """`task_of` -> lines that may share an axis, each with at least one run."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        for task in dict.fromkeys(map(task_of, line.runs)):
            runs = [run for run in line.runs if task_of(run) == task]
            groups.setdefault(task, []).append(replace(line, runs=runs))
    return groups


def apart_warning(tasks: Sequence[str], what: str) -> list[str]:
    """A warning for a page whose runs differ in `task_of`; empty if they do not."""
    if len(tasks) < 2:
        return []
    return [
        f"These {what} differ in model or data, so their losses, accuracies and ranks cannot be compared. Each kind "
        f"has its own figures: {'; '.join(tasks)}."
    ]


def levels_of(runs: Sequence[Run]) -> dict[str, float]:
    """Name -> height of horizontal lines in a figure of accuracies: chance, the majority class if that is more, and the
    accuracy before round 1. Only those that are the same for all runs."""
    lines: dict[str, float] = {}
    levels: dict[str, set[float | None]] = {
        "chance": {measures.chance(run) for run in runs},
        "majority class": {measures.majority(run) for run in runs},
        "zero-shot": {run.split("validation")[0].accuracy if _starts(run) else None for run in runs},
    }
    for name, values in levels.items():
        if len(values) == 1 and (value := values.pop()) is not None:
            lines[f"{name} {text_percent(value)}"] = value
    return lines


def _starts(run: Run) -> bool:
    return bool(run.split("validation")) and run.split("validation")[0].round == 0


def curves_plot(
    title: str, lines: Sequence[Line], field: str = "loss", cost: Cost = ROUNDS, note: str = ""
) -> Plot | None:
    """`field`, a figure of evaluations, over a cost, with all lines; None if no line has a value."""
    known = [(index, line, points) for index, line in enumerate(lines) if len(points := mean_curve(line, field, cost))]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, line, points in known:  # a line has the same colour in every figure
            kind: dict[str, Any] = look(index) | {"markersize": 4}
            if line.split == "test":  # evaluated only at the start and the end
                kind |= {"linestyle": "none", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
            from_round = 1 if cost.log else 0
            axes.plot(*points[from_round:].T, label=line.name, **kind)
            for run in line.runs if len(line.runs) > 1 else ():
                seed = mean_curve(replace(line, runs=[run]), field, cost)[from_round:]
                axes.plot(*seed.T, color=kind["color"], linewidth=0.7, alpha=0.55)
            if line.interval and field != "loss":
                _draw_interval(axes, line, field, str(kind["color"]))
        if cost.log:
            bytes_axis(axes)
        elif cost is ROUNDS:
            whole_rounds(axes)
        if field == "accuracy":
            percent(axes.yaxis)
            styles = zip((GREY, GREY, INK), ((0, (1.2, 1.6)), (0, (3, 1.5, 1, 1.5)), (0, (6, 3))), strict=True)
            levels = levels_of([run for _, line, _ in known for run in line.runs])
            for (name, value), (color, dash) in zip(levels.items(), styles, strict=False):
                axes.axhline(value, color=color, linestyle=dash, linewidth=1.1, label=name, zorder=1)
        splits = " and ".join(dict.fromkeys(line.split for _, line, _ in known))
        axes.set(xlabel=cost.label, ylabel=f"{splits} {figure_name(field)}")
        if len(axes.get_legend_handles_labels()[1]) > 1:
            legend(figure, axes)

    return plot(title, draw, 3.0, note)


def _draw_interval(axes: Axes, line: Line, field: str, color: str) -> None:
    """Draws the 95 % interval of each figure of a single run over rounds: as a band, for the test split as bars."""
    spans = [
        (r.round, span) for run in line.runs for r in run.split(line.split) if (span := measures.interval_of(r, field))
    ]
    if not spans:
        return
    rounds, low, high = (list(column) for column in zip(*((number, *span) for number, span in spans), strict=True))
    if line.split == "test":
        axes.vlines(rounds, low, high, color=color, linewidth=1.2)
    else:
        axes.fill_between(rounds, low, high, color=color, alpha=0.18, linewidth=0)


def mean_curve(line: Line, field: str, cost: Cost) -> np.ndarray:
    """float64 [k, 2]: (position on the axis, value). Both are means over the runs, at rounds that all runs have."""
    runs = [run for run in line.runs if cost.at(run, 0) is not None]
    by_run = [
        {r.round: value for r in run.split(line.split) if (value := getattr(r, field)) is not None} for run in runs
    ]
    rounds = sorted(set.intersection(*map(set, by_run))) if by_run else []
    points = [
        (fmean(cost.at(run, number) or 0.0 for run in runs), fmean(values[number] for values in by_run))
        for number in rounds
    ]
    curve = np.array(points, dtype=np.float64).reshape(-1, 2)
    return curve[np.isfinite(curve).all(axis=1)]
