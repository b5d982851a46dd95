"""Validation loss of compared methods against forward passes: the second figure of `analysis.comparison_table`."""

import math
from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.rows import Row, Rows
from zorba_ray.artifacts import Run
from zorba_ray.report.comparison import ComparisonRecord
from zorba_ray.report.figure import COLUMN_IN, SHEET_IN, legend, letters, look
from zorba_ray.report.measures import passes_at, passes_of_all

MEAN = "mean"
"""Stands in the column `seed` of the points over all seeds."""
_ACROSS = 3
"""Panels side by side at most."""


def rows(named: Sequence[tuple[str, ComparisonRecord]]) -> Rows:
    """A row per comparison, method, seed and evaluated round; then the means at the rounds that all seeds evaluated."""
    found: list[Row] = []
    for name, record in named:
        for result in record.results:
            same: Row = {"comparison": name, "series": result.method, "n": len(result.runs)}
            losses = {s: {r.round: r.loss for r in run.split("validation")} for s, run in result.runs.items()}
            for seed, run in result.runs.items():
                found += [same | _point(str(seed), run, number, loss) for number, loss in losses[seed].items()]
            if (run := result.first_run) is not None:
                for number in sorted(set.intersection(*map(set, losses.values()))):
                    found.append(same | _point(MEAN, run, number, fmean(each[number] for each in losses.values())))
    return Rows(tuple(found))


def _point(seed: str, run: Run, number: int, loss: float) -> Row:
    passes = {"passes_of_a_client": passes_at(run, number), "passes_of_all": passes_of_all(run, number)}
    return {"seed": seed, "round": number, **passes, "loss": loss}


def draw(found: Rows) -> Figure:
    """A panel per comparison, a line per method, its seeds light behind it."""
    parts = found.parts("comparison")
    methods = list(dict.fromkeys(str(row["series"]) for row in found.rows))
    across = min(_ACROSS, len(parts))
    down = math.ceil(len(parts) / across)
    size = (COLUMN_IN if len(parts) == 1 else SHEET_IN, 2.1 * down + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[len(parts) :]:
        axes.remove()
    for place, (axes, (_, part)) in enumerate(zip(panels, parts, strict=False)):
        by_method = dict(part.parts())
        for index, method in enumerate(methods):
            _method(axes, by_method.get(method), index, method)
        axes.set(xlabel="forward passes, all clients", ylabel="" if place % across else "validation loss")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    letters(panels[: len(parts)], [name for name, _ in parts], int(size[0] * 15 / across) - 8)
    seeds = found.over_seeds().replace("mean and min–max", "mean")
    legend(figure, panels[0], seeds if seeds == "1 seed" else f"{seeds}; light: each seed")
    return figure


def _method(axes: Axes, part: Rows | None, index: int, method: str) -> None:
    """A method that this comparison lacks is drawn nowhere, and named, as the legend is made of the first panel."""
    lines = dict(part.parts("seed")) if part else {}
    mean = lines.pop(MEAN, Rows(()))
    for line in lines.values() if len(lines) > 1 else ():
        light = {"color": look(index)["color"], "alpha": 0.35, "linewidth": 0.6, "zorder": 1.5}
        axes.plot(line.column("passes_of_all"), line.column("loss"), **light)
    places = mean.column("passes_of_all")
    axes.plot(places, mean.column("loss"), label=method, markevery=max(1, len(places) // 8), **look(index))
