"""Validation loss of compared methods against forward passes: the second figure of `analysis.contest_table`."""

import math
import textwrap
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.rows import Row, Rows
from analysis.style import COLUMN_IN, PAGE_IN, legend, letters, look, plain
from zorba_ray.artifacts import Run
from zorba_ray.artifacts.run import told_apart
from zorba_ray.report.contest import ContestRecord, curve, passes_at

MEAN = "mean"
"""Stands in the column `seed` of the points over all seeds."""
_ACROSS = 3
"""Panels side by side at most."""
_LIGHT: dict[str, Any] = {"alpha": 0.35, "linewidth": 0.6, "zorder": 1.5}
"""A seed's line: behind all means."""


def names_of(records: Sequence[ContestRecord]) -> list[str]:
    """One name per comparison, all different."""
    return told_apart([(record.entry.name, record.path) for record in records])


def room(across: int) -> int:
    """Characters that a panel of so many side by side has room for, beside the marks of its y axis."""
    return max(10, int(PAGE_IN * 15 / across) - 4)


def title(panels: Sequence[Axes], names: Sequence[str], across: int) -> None:
    """The comparisons' names behind the letters of panels, `across` of them side by side."""
    for axes, name in zip(panels, names, strict=True):
        text = textwrap.fill(f"{axes.get_title(loc='left')} {name}", room(across))
        axes.set_title(plain(text), loc="left", fontsize=7.5, pad=3)


def passes_of_all(run: Run, round: int) -> int:
    """Forward passes of all asked clients together after a round: at equal cost whatever the number of clients is."""
    asked = next((one.clients_asked for one in run.rounds if one.clients_asked), len(run.allocation.clients))
    return asked * passes_at(run, round)


def rows(records: Sequence[ContestRecord]) -> Rows:
    """A row per comparison, method, seed and evaluated round; then the means at the rounds that all seeds evaluated."""
    found: list[Row] = []
    for name, record in zip(names_of(records), records, strict=True):
        for standing in record.standings:
            own: Row = {"contest": name, "series": standing.method, "n": len(standing.runs)}
            losses = {seed: {one.round: one.loss for one in curve(run)} for seed, run in standing.runs.items()}
            for seed, run in standing.runs.items():
                found += [own | _point(str(seed), run, number, loss) for number, loss in losses[seed].items()]
            if not losses:
                continue
            run = next(iter(standing.runs.values()))
            for number in sorted(set.intersection(*map(set, losses.values()))):
                mean = fmean(each[number] for each in losses.values())
                found.append(own | _point(MEAN, run, number, mean))
    return Rows(tuple(found), "")


def _point(seed: str, run: Run, number: int, loss: float) -> Row:
    passes = {"passes_of_a_client": passes_at(run, number), "passes_of_all": passes_of_all(run, number)}
    return {"seed": seed, "round": number, **passes, "loss": loss}


def draw(found: Rows) -> Figure:
    """A panel per comparison, a line per method, its seeds light behind it."""
    parts = found.parts("contest")
    methods = list(dict.fromkeys(str(row["series"]) for row in found.rows))
    across = min(_ACROSS, len(parts))
    down = math.ceil(len(parts) / across)
    size = (COLUMN_IN if len(parts) == 1 else PAGE_IN, 2.1 * down + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for place, axes in enumerate(panels.flat):
        if place >= len(parts):
            axes.remove()
            continue
        by_method = dict(parts[place][1].parts())
        for index, method in enumerate(methods):
            _method(axes, by_method.get(method), index, method)
        axes.set_xlabel("forward passes, all clients")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if place % across == 0:
            axes.set_ylabel("validation loss")
    shown = list(panels.flat)[: len(parts)]
    letters(shown)
    title(shown, [name for name, _ in parts], across)
    legend(figure, panels[0][0], _title(found))
    return figure


def _method(axes: Axes, part: Rows | None, index: int, method: str) -> None:
    """A method that this comparison lacks is drawn nowhere, and named, as the legend is made of the first panel."""
    kind = look(index)
    lines = dict(part.parts("seed")) if part else {}
    mean = lines.pop(MEAN, None)
    for line in lines.values() if len(lines) > 1 else ():
        axes.plot(line.column("passes_of_all"), line.column("loss"), color=kind["color"], **_LIGHT)
    places, losses = (mean.column("passes_of_all"), mean.column("loss")) if mean else ([], [])
    axes.plot(places, losses, label=plain(method), markevery=max(1, len(places) // 8), **kind)


def _title(found: Rows) -> str:
    counts = sorted({int(row["n"] or 0) for row in found.rows})
    if counts == [1]:
        return "1 seed"
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"mean over n = {span} seeds; light: each seed"
