"""Curves of evaluations: of a run, of runs side by side, of a sweep's configurations, of compared methods.

Runs on other data or of another model never share an axis (`apart`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from zorba_ray.artifacts import Run
from zorba_ray.report import measures
from zorba_ray.report.figure import GREY, INK, Plot, legend, look, percent, plot, whole_rounds
from zorba_ray.tables.text import text_percent


@dataclass(frozen=True)
class Line:
    """One line of a figure: the mean over runs that differ in their seed, each of which is drawn thin beside it."""

    name: str
    runs: Sequence[Run]
    split: str = "validation"
    interval: bool = False
    """Whether accuracies have their 95 % interval over the rows of the split; of a single run."""


@dataclass(frozen=True)
class Cost:
    """What evaluations are shown against."""

    label: str
    at: Callable[[Run, int], float | None]
    """Where a run is after a round; None for every round where that is not known."""
    log: bool = False


def bytes_at(run: Run, round: int) -> float | None:
    """Bytes of a client, up and down, spread evenly over the rounds."""
    up, down = (measures.bytes_of_client(run, way) for way in ("up", "down"))
    return None if up is None or down is None else (up + down) * round / max(run.rounds_done, 1)


ROUNDS = Cost("round (0: zero-shot)", lambda run, round: float(round))
BYTES = Cost("bytes per client, up and down", bytes_at, log=True)


def task_of(run: Run) -> str:
    """Model and data in words. Losses and accuracies of runs that differ in it do not compare."""
    model = run.config.model
    return f"{model.path}{f' at {model.revision}' if model.revision else ''} on {run.config.data.path}"


def apart(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """`task_of` -> the lines that may share an axis; none without a run."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        for task in dict.fromkeys(map(task_of, line.runs)):
            runs = [run for run in line.runs if task_of(run) == task]
            groups.setdefault(task, []).append(replace(line, runs=runs))
    return groups


def apart_warning(tasks: Sequence[str], what: str) -> list[str]:
    """For the top of a page whose runs differ in `task_of`; nothing where they do not."""
    if len(tasks) < 2:
        return []
    return [
        f"These {what} differ in model or data. Their losses, accuracies and ranks do not compare, so each kind has "
        f"figures of its own: {'; '.join(tasks)}."
    ]


def levels_of(runs: Sequence[Run]) -> dict[str, float]:
    """Horizontal lines of a figure of accuracies, where all runs agree: chance, the majority class if that is more, and
    the accuracy before round 1."""
    found: dict[str, float] = {}
    levels: dict[str, set[float | None]] = {
        "chance": {measures.chance(run) for run in runs},
        "majority class": {measures.majority(run) for run in runs},
        "zero-shot": {run.split("validation")[0].accuracy if _starts(run) else None for run in runs},
    }
    for name, values in levels.items():
        if len(values) == 1 and (value := values.pop()) is not None:
            found[f"{name} {text_percent(value)}"] = value
    return found


def _starts(run: Run) -> bool:
    return bool(run.split("validation")) and run.split("validation")[0].round == 0


def curves_plot(
    title: str, lines: Sequence[Line], field: str = "loss", cost: Cost = ROUNDS, note: str = ""
) -> Plot | None:
    """`field`, loss, accuracy or reward, of each line against a cost; None where no line has a value on the axis."""
    known = [(index, line, points) for index, line in enumerate(lines) if len(points := mean_curve(line, field, cost))]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, line, points in known:  # each in the colour that it has in every figure
            kind: dict[str, Any] = look(index) | {"markersize": 4}
            if line.split == "test":  # evaluated at the start and the end only
                kind |= {"linestyle": "none", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
            from_round = 1 if cost.log else 0
            axes.plot(*points[from_round:].T, label=line.name, **kind)
            for run in line.runs if len(line.runs) > 1 else ():
                seed = mean_curve(replace(line, runs=[run]), field, cost)[from_round:]
                axes.plot(*seed.T, color=kind["color"], linewidth=0.7, alpha=0.55)
            if line.interval and field in ("accuracy", "reward"):
                _draw_interval(axes, line, field, str(kind["color"]))
        if cost.log:
            axes.set_xscale("log", base=10)
            low, high = axes.get_xlim()
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
            axes.xaxis.set_major_formatter(EngFormatter("B"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif cost is ROUNDS:
            whole_rounds(axes)
        if field == "accuracy":
            percent(axes.yaxis)
            styles = zip((GREY, GREY, INK), ((0, (1.2, 1.6)), (0, (3, 1.5, 1, 1.5)), (0, (6, 3))), strict=True)
            levels = levels_of([run for _, line, _ in known for run in line.runs])
            for (name, value), (color, dash) in zip(levels.items(), styles, strict=False):
                axes.axhline(value, color=color, linestyle=dash, linewidth=1.1, label=name, zorder=1)
        splits = " and ".join(dict.fromkeys(line.split for _, line, _ in known))
        axes.set(xlabel=cost.label, ylabel=f"{splits} {field}")
        if len(axes.get_legend_handles_labels()[1]) > 1:
            legend(figure, axes)

    return plot(title, draw, 3.0, note)


def _draw_interval(axes: Axes, line: Line, field: str, color: str) -> None:
    """The 95 % interval of each figure of a single run, in rounds: a band, or bars where there is no curve."""
    spans = [
        (r.round, span) for run in line.runs for r in run.split(line.split) if (span := measures.interval_of(r, field))
    ]
    if not spans:
        return
    rounds, low, high = (list(column) for column in zip(*((at, *span) for at, span in spans), strict=True))
    if line.split == "test":
        axes.vlines(rounds, low, high, color=color, linewidth=1.2)
    else:
        axes.fill_between(rounds, low, high, color=color, alpha=0.18, linewidth=0)


def mean_curve(line: Line, field: str, cost: Cost) -> np.ndarray:
    """float64 [k, 2]: (place, value), means over the runs that are on the axis, at the rounds that all of them know."""
    runs = [run for run in line.runs if cost.at(run, 0) is not None]
    known = [
        {r.round: value for r in run.split(line.split) if (value := getattr(r, field)) is not None} for run in runs
    ]
    rounds = sorted(set.intersection(*map(set, known))) if known else []
    points = [
        (fmean(cost.at(run, number) or 0.0 for run in runs), fmean(values[number] for values in known))
        for number in rounds
    ]
    found = np.array(points, dtype=np.float64).reshape(-1, 2)
    return found[np.isfinite(found).all(axis=1)]
