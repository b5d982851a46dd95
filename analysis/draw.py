"""Panels of a figure for print: every series of the rows in each of them, with what its seeds span."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from analysis.printed import COLUMN_IN, SHEET_IN, letters
from analysis.rows import Rows
from zorba_ray.report.figure import legend, look, name_points, percent, unit_of


@dataclass(frozen=True)
class Panel:
    """One panel: a measure of the rows against a column of theirs."""

    x: str
    y: str
    xlabel: str
    """So `ylabel`: {source} is where VRAM figures come from, and {unit} that of x, which is then in bytes."""
    ylabel: str
    curve: bool = False
    """A band between the seeds, and whole numbers along x; else a bar at every point."""
    log: bool = False
    """x is logarithmic, with a mark at every value."""
    shares: bool = False
    """y reads as percent."""
    level: str = ""
    """Name of the level line at an infinite x, what the setting tends to."""
    names: str = ""
    """Column of numbers that stand beside the points."""


def panels_figure(rows: Rows, panels: Sequence[Panel], across: int) -> Figure:
    """`across` panels side by side on a sheet, or a column where it is 1; those without a value are left out."""
    panels = [panel for panel in panels if rows.known(f"{panel.y}_mean")]
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(COLUMN_IN if across == 1 else SHEET_IN, 1.75 * down + 0.7), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for panel, where in zip(panels, axes, strict=True):
        _panel(where, rows, panel)
    letters(axes)
    legend(figure, axes[0], rows.over_seeds())
    return figure


def _panel(axes: Axes, rows: Rows, panel: Panel) -> None:
    factor, unit = unit_of(np.nanmax(rows.column(panel.x), initial=0)) if "{unit}" in panel.xlabel else (1, "")
    for index, (label, part) in enumerate(rows.parts()):
        x = part.column(panel.x) / factor
        if panel.curve:
            _curve(axes, x, part, panel.y, index, label)
        else:
            beyond = np.isinf(x)
            _level(axes, part.where(beyond), panel.y, index, panel.level)
            _points(axes, x[~beyond], part.where(~beyond), panel.y, index, label)
    if panel.names:
        texts = [f"{value:g}" for value in rows.column(panel.names)]
        name_points(axes, rows.column(panel.x) / factor, rows.column(f"{panel.y}_mean"), texts)
    if panel.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted({x for x in rows.column(panel.x) if np.isfinite(x)})))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=panel.curve and factor == 1))
    if panel.shares:
        percent(axes.yaxis)
    xlabel, ylabel = (text.format(unit=unit, source=rows.vram_source) for text in (panel.xlabel, panel.ylabel))
    axes.set(xlabel=xlabel, ylabel=ylabel)


def _curve(axes: Axes, x: np.ndarray, rows: Rows, y: str, index: int, label: str) -> None:
    """Mean over the seeds, with a band from the smallest to the largest and about twelve marks."""
    axes.plot(x, rows.column(f"{y}_mean"), label=label, markevery=max(1, len(x) // 12), **look(index))
    low, high = rows.column(f"{y}_min"), rows.column(f"{y}_max")
    if (high > low).any():
        axes.fill_between(x, low, high, color=look(index)["color"], alpha=0.16, linewidth=0)


def _points(axes: Axes, x: np.ndarray, rows: Rows, y: str, index: int, label: str) -> None:
    """Mean at each x, joined, with a bar from the smallest to the largest over the seeds."""
    mean, low, high = (rows.column(f"{y}_{part}") for part in ("mean", "min", "max"))
    # fmean of equal numbers may differ from them in the last digit; a bar of negative length is refused.
    reach = np.maximum([mean - low, high - mean], 0.0)
    kind: dict[str, Any] = look(index)
    axes.errorbar(x, mean, yerr=reach, label=label, capsize=1.8, elinewidth=0.8, **kind)


def _level(axes: Axes, rows: Rows, y: str, index: int, name: str) -> None:
    """A level line, with its name beside it, and a band from the smallest to the largest; no rows, no line."""
    color = look(index)["color"]
    for mean, low, high in zip(*(rows.column(f"{y}_{part}") for part in ("mean", "min", "max")), strict=True):
        axes.axhline(mean, color=color, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.axhspan(low, high, color=color, alpha=0.1, linewidth=0)
        axes.text(1.01, mean, name, transform=axes.get_yaxis_transform(), va="center", color=color)
