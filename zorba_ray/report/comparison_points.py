"""Two figures of a comparison: quality against the memory of a client, and against the bytes that it sends and gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from zorba_ray.report import measures
from zorba_ray.report.comparison import ComparisonRecord, MethodResult
from zorba_ray.report.figure import CARD, bytes_axis, look, percent
from zorba_ray.tables.text import figure_name

VRAM_AXIS, SENT_AXIS = "bytes of a client's accelerator", "bytes per client, up and down"


@dataclass(frozen=True)
class Points:
    """A method in the figures: one quality, with its costs."""

    method: str
    index: int
    """Of the method, so that it looks alike in every figure."""
    figure: str
    """Of the test split, such as accuracy."""
    quality: float
    low: float
    """End of the 95 % interval, and `high`: over the seeds where there are three, else over the test rows."""
    high: float
    used: tuple[int, ...]
    """Bytes of the clients that take part, each number once."""
    other: tuple[int, ...]
    """Bytes of placements with the same θ that no client uses."""
    sent: float | None
    """Bytes of a client over the whole run, up and down; None for a method with one client."""

    @property
    def row(self) -> dict[str, Any]:
        """For a CSV; lists of bytes with blanks between."""
        return vars(self) | {"used": " ".join(map(str, self.used)), "other": " ".join(map(str, self.other))}


def points_of(record: ComparisonRecord) -> list[Points]:
    """The methods with a finished run and without a lost one, in the order of the comparison."""
    shown = [(index, result) for index, result in enumerate(record.results) if result.runs and not result.lost]
    return [point for index, result in shown if (point := _points(index, result)) is not None]


def _points(index: int, result: MethodResult) -> Points | None:
    run = next(iter(result.runs.values()))
    figure = measures.headline_figure(run)
    if (spread := result.over(measures.FIGURES[f"test_{figure}"])) is None:
        return None
    low, high = interval_of_runs(result, figure)
    used = tuple(sorted({held for held, _ in result.held}))
    fit = result.fit
    other = {where.bytes for where in fit.placements if where.format == fit.format} - {*used} if fit else set[int]()
    ways = [result.over(measures.FIGURES[f"bytes_{way}"]) for way in ("up", "down")]
    sent = None if None in ways else sum(way.mean for way in ways if way)
    return Points(result.method, index, figure, spread.mean, low, high, used, tuple(sorted(other)), sent)


def interval_of_runs(result: MethodResult, figure: str) -> tuple[float, float]:
    """95 % interval of a test figure: over the seeds where there are three or more, else over the test rows, of two
    seeds the mean of both ends; the value itself where no interval is known."""
    spread = result.over(measures.FIGURES[f"test_{figure}"])
    assert spread is not None
    if spread.count > 2 and spread.half is not None:
        return spread.mean - spread.half, spread.mean + spread.half
    ends = [measures.interval_of(run.until_kept("test")[-1], figure) for run in result.runs.values()]
    known = [end for end in ends if end is not None]
    if not known:
        return spread.mean, spread.mean
    return fmean(low for low, _ in known), fmean(high for _, high in known)


def draw_points(axes: Axes, points: Sequence[Points], cost: str) -> None:
    """Quality against VRAM_AXIS or SENT_AXIS. A full mark is a placement that clients use, an open one another with
    the same quality."""
    for point in points:
        where = [*point.used, *point.other] if cost == VRAM_AXIS else [] if point.sent is None else [point.sent]
        if not where:
            continue
        kind: dict[str, Any] = look(point.index)
        y, full = np.full(len(where), point.quality), len(point.used) if cost == VRAM_AXIS else 1
        alone: dict[str, Any] = kind | {"linestyle": "none"}
        axes.plot(np.sort(where), y, color=kind["color"], linewidth=0.8)
        axes.plot(where[full:], y[full:], markerfacecolor=CARD, **alone)
        reach = [[max(0.0, point.quality - point.low)], [max(0.0, point.high - point.quality)]]
        axes.errorbar(where[:1], y[:1], yerr=reach, capsize=2, elinewidth=0.8, fmt="none", ecolor=kind["color"])
        axes.plot(where[:full], y[:full], label=point.method, **alone)
    axes.margins(x=0.08)
    bytes_axis(axes)
    figure = points[0].figure
    if figure in ("accuracy", "exact_match", "number_match"):
        percent(axes.yaxis)
    axes.set(xlabel=cost, ylabel=f"test {figure_name(figure)}")
