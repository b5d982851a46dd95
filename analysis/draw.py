"""Panels of a figure for print: every series of the rows in each of them, with what its seeds span."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from analysis.rows import Rows
from zorba_ray.report.figure import COLUMN_IN, SHEET_IN, legend, letters, look, percent, unit_of


@dataclass(frozen=True)
class Panel:
    """One panel: a measure of the rows against a column of theirs."""

    x: str
    y: str
    xlabel: str
    ylabel: str
    curve: bool = False
    """A band between the seeds; else a bar at every point."""
    hollow: str = ""
    """Another measure, with hollow marks."""
    band: tuple[str, str] | None = None
    """Columns of a band around the points."""
    log: int = 0
    """Base of a logarithmic x axis."""
    in_bytes: bool = False
    """x in a unit of bytes, which takes the place of {} in its label."""
    shares: bool = False
    """y reads as percent."""
    integers: str = ""
    """The axes, x or y or both, with marks at whole numbers."""
    level: str = ""
    """Name of the level line at an infinite x, what the setting tends to."""
    bottom: float | None = None
    """Lower end of y."""


def panels_figure(rows: Rows, panels: Sequence[Panel], across: int, height_in: float, title: str = "") -> Figure:
    """A sheet with `across` panels side by side, or a column where it is 1; `title` stands in the legend."""
    size = (COLUMN_IN if across == 1 else SHEET_IN, height_in)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(math.ceil(len(panels) / across), across, squeeze=False).ravel()
    for panel, where in zip(panels, axes, strict=True):
        _panel(where, rows, panel)
    letters(axes)
    legend(figure, axes[0], title or rows.over_seeds())
    return figure


def final_figure(rows: Rows, x: str, xlabel: str, level: str = "") -> Figure:
    """Final loss above, accuracy (where there is one) below, against a setting on a logarithmic axis; `level` names the
    case of an infinite one."""
    names = [name for name in ("loss", "accuracy") if rows.known(f"{name}_mean")]
    panels = [
        Panel(x, name, xlabel, f"final validation {name}", log=10, shares=name == "accuracy", level=level)
        for name in names
    ]
    return panels_figure(rows, panels, 1, 1.5 * len(names) + 0.8)


def _panel(axes: Axes, rows: Rows, panel: Panel) -> None:
    factor, unit = unit_of(np.nanmax(rows.column(panel.x), initial=0)) if panel.in_bytes else (1, "")
    for index, (label, part) in enumerate(rows.parts()):
        x = part.column(panel.x) / factor
        if panel.curve:
            _curve(axes, x, part, panel.y, index, label)
            continue
        beyond = np.isinf(x)
        _level(axes, part.where(beyond), panel.y, index, panel.level)
        points(axes, x[~beyond], part.where(~beyond), panel.y, index, label)
        if panel.hollow:
            points(axes, x, part, panel.hollow, index, "", hollow=True)
        if panel.band:
            low, high = (part.column(name) for name in panel.band)
            axes.fill_between(x, low, high, alpha=0.16, linewidth=0, color=look(index)["color"])
    if panel.log == 2:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(rows.column(panel.x)))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    elif panel.log:
        axes.set_xscale("log", base=panel.log)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer="x" in panel.integers))
    if "y" in panel.integers:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.shares:
        percent(axes.yaxis)
    axes.set(xlabel=panel.xlabel.format(unit), ylabel=panel.ylabel)
    if panel.bottom is not None:
        axes.set_ylim(bottom=panel.bottom)


def _curve(axes: Axes, x: np.ndarray, rows: Rows, y: str, index: int, label: str) -> None:
    """Mean over the seeds, with a band from the smallest to the largest and about twelve marks."""
    axes.plot(x, rows.column(f"{y}_mean"), label=label, markevery=max(1, len(x) // 12), **look(index))
    low, high = rows.column(f"{y}_min"), rows.column(f"{y}_max")
    if (high > low).any():
        axes.fill_between(x, low, high, color=look(index)["color"], alpha=0.16, linewidth=0)


def points(axes: Axes, x: np.ndarray, rows: Rows, y: str, index: int, label: str, hollow: bool = False) -> None:
    """Mean at each x, joined, with a bar from the smallest to the largest over the seeds."""
    kind = look(index) | ({"markerfacecolor": "white"} if hollow else {})
    mean = rows.column(f"{y}_mean")
    axes.errorbar(x, mean, yerr=reach(rows, y), label=label, capsize=1.8, elinewidth=0.8, **kind)


def _level(axes: Axes, rows: Rows, y: str, index: int, name: str) -> None:
    """A level line, with its name beside it, and a band from the smallest to the largest; no rows, no line."""
    color = look(index)["color"]
    for mean, low, high in zip(*(rows.column(f"{y}_{part}") for part in ("mean", "min", "max")), strict=True):
        axes.axhline(mean, color=color, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.axhspan(low, high, color=color, alpha=0.1, linewidth=0)
        axes.text(1.01, mean, name, transform=axes.get_yaxis_transform(), va="center", color=color)


def reach(rows: Rows, name: str) -> np.ndarray:
    """[2, rows]: how far the smallest and the largest over the seeds are from the mean."""
    mean = rows.column(f"{name}_mean")
    # fmean of equal numbers may differ from them in the last digit; a bar of negative length is refused.
    return np.maximum([mean - rows.column(f"{name}_min"), rows.column(f"{name}_max") - mean], 0.0)
