"""Curves of evaluations: of a run, of runs side by side, of a sweep's configurations, of compared methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from zorba_ray.artifacts import Run
from zorba_ray.report import measures
from zorba_ray.report.figure import Plot, legend, look, percent, plot, whole_rounds


@dataclass(frozen=True)
class Line:
    """One line of a figure: the mean over runs that differ in their seed."""

    name: str
    runs: Sequence[Run]
    split: str = "validation"


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
PASSES = Cost("forward passes per client", lambda run, round: float(measures.passes_at(run, round)))
BYTES = Cost("bytes per client, up and down", bytes_at, log=True)


def curves_plot(title: str, lines: Sequence[Line], field: str = "loss", cost: Cost = ROUNDS) -> Plot | None:
    """`field`, loss or accuracy, of each line against a cost; None where no line has a value on the axis."""
    known = [(index, line, points) for index, line in enumerate(lines) if len(points := mean_curve(line, field, cost))]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, line, points in known:  # each in the colour that it has in every figure
            kind: dict[str, Any] = look(index) | {"markersize": 4}
            if line.split == "test":  # evaluated at the start and the end only
                kind |= {"linestyle": "none", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
            axes.plot(*points[1 if cost.log else 0 :].T, label=line.name, **kind)
        if cost.log:
            axes.set_xscale("log", base=10)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+0", "e")))
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif cost is ROUNDS:
            whole_rounds(axes)
        if field == "accuracy":
            percent(axes.yaxis)
        splits = " and ".join(dict.fromkeys(line.split for _, line, _ in known))
        axes.set(xlabel=cost.label, ylabel=f"{splits} {field}")
        if len(lines) > 1:
            legend(figure, axes)

    return plot(title, draw, 3.0)


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
