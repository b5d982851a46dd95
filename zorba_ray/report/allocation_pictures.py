"""Pictures of an allocation outside of a run: who activates what beside bytes against budget, and the Pareto front."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.report.canvas import BLUE, GREY, MANY_CLIENTS, OFF, RED, legend_below, picture, short, unit_of
from zorba_ray.report.fleet_rows import FleetRow, fleet_rows
from zorba_ray.report.numbers import text_gap, text_value

_SHADES = LinearSegmentedColormap.from_list("held", [OFF, BLUE])


def write_allocation_picture(allocation: AllocationRecord, path: Path) -> Path:
    """Heat map of clients (groups of them where there are many) by blocks, and what each holds against its budget.

    Raises:
        OSError: the file cannot be written.
    """
    rows = fleet_rows(allocation, MANY_CLIENTS)

    def draw(figure: Figure) -> None:
        held, size = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
        _heat_map(figure, held, rows, len(rows) < len(allocation.clients))
        _bytes(
            size, rows, f"VRAM of a client in {{}}\n({allocation.bytes_source}, {allocation.accelerator} accelerators)"
        )
        legend_below(figure, size, columns=2)
        gap = f", proven within {text_gap(allocation.gap)}" if allocation.gap is not None else ""
        figure.suptitle(
            f"{len(allocation.clients):,} clients × {allocation.blocks} blocks, ε = {allocation.epsilon:g}, "
            f"f1 = {text_value(allocation.f1) if allocation.f1 is not None else '∞'}{gap}",
            fontsize=11,
        )

    return picture(path, draw, 9.5, 2.0 + 0.27 * max(5, len(rows)))


def write_front_picture(front: dict[str, Any], record: dict[str, Any], path: Path) -> Path:
    """Two objectives of every point of the front (f1 upwards where it is one of them), with what is not proven, these
    settings' own answer and the heuristic's.

    `front` and `record` are front.json and allocation.json.

    Raises:
        OSError: the file cannot be written.
    """
    points, order = front["points"], [entry["objective"] for entry in record["objectives"]]
    up = "convergence" if "convergence" in order else order[0]
    across = next(objective for objective in order if objective != up)
    share = record["vram_objective"] == "worst_share"
    scale, unit = (1, "") if share or across != "vram" else unit_of(max(_of(point, across) for point in points))
    labels = {
        "convergence": "f1 (all blocks active: 1)",
        "vram": "f2: worst share of a budget"
        if share
        else f"f2: VRAM of the fleet in {unit} ({record['bytes_source']})",
        "time": "f3: seconds of a round (modelled)",
    }

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        x = np.array([_of(point, across) for point in points]) / scale
        y = np.array([_of(point, up) for point in points])
        axes.plot(x, y, "o-", color=BLUE, label="front", linewidth=1, zorder=3)
        least = np.array([_of(point, across, "bound") for point in points]) / scale
        if (least < x).any():
            label = "not proven: as far as here"
            axes.hlines(y, least, x, color=GREY, linewidth=1, linestyle=":", label=label, zorder=2)
        own = {entry["objective"]: entry["value"] for entry in record["objectives"]}
        here: dict[str, Any] = {"color": RED, "ls": "none"}
        label = f"these settings, ε = {record['epsilon']:g}"
        axes.plot(own[across] / scale, own[up], "o", ms=12, mfc="none", mew=1.6, label=label, **here)
        if record["greedy"] is not None:
            there = record["greedy"]["objectives"]
            axes.plot(there[across] / scale, there[up], "X", label="greedy", zorder=4, **here)
        _names(axes, x, y, [f"{point['epsilon']:.3g}" for point in points])
        if across == "vram" and share:
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel=labels[across], ylabel=labels[up])
        axes.margins(0.09, 0.12)
        axes.set_title("Pareto front over ε (beside each point)", loc="left")
        legend_below(figure, axes, columns=2)

    return picture(path, draw, 6.4, 4.6)


def _heat_map(figure: Figure, axes: Axes, rows: list[FleetRow], grouped: bool) -> None:
    grid = np.stack([row.share for row in rows])
    gap = 0.6 if grid.shape[1] <= 64 else 0.0
    mesh = axes.pcolormesh(
        np.arange(grid.shape[1] + 1) - 0.5, np.arange(len(rows) + 1) - 0.5, grid,
        cmap=_SHADES, vmin=0, vmax=float(grid.max()) or 1.0, edgecolors="white", linewidth=gap,
    )  # fmt: skip
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=9)
    axes.set_xlabel("block" + ("" if grouped else " (blue: active)"))
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if grouped:
        bar = figure.colorbar(mesh, ax=axes, location="top", shrink=0.5, aspect=30, format=PercentFormatter(1.0))
        bar.set_label("clients of the row with the block active", fontsize=9)
        bar.outline.set_visible(False)  # type: ignore[operator]


def _bytes(axes: Axes, rows: list[FleetRow], label: str) -> None:
    """Bars up to the most that a client of the row holds, ticks at the budgets."""
    size, unit = unit_of(max([row.bytes[1] for row in rows] + [row.budget[1] for row in rows if row.budget]))
    places = np.arange(len(rows))
    axes.barh(places, [row.bytes[1] / size for row in rows], height=0.62, color=BLUE, label="most held")
    if any(row.budget for row in rows):
        ends = [(place, end / size) for place, row in zip(places, rows, strict=True) for end in set(row.budget or ())]
        y, x = np.array([place for place, _ in ends]), [end for _, end in ends]
        axes.vlines(x, y - 0.42, y + 0.42, color=RED, linewidth=2.5, label="budget")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(label.format(unit))


def _label(row: FleetRow) -> str:
    if row.clients == 1:
        return f"{row.name}  {short(row.kind)}"
    return f"{short(row.kind) or 'mixed'} × {row.clients:,}"


def _of(point: dict[str, Any], objective: str, what: str = "value") -> float:
    found = next(entry[what] for entry in point["objectives"] if entry["objective"] == objective)
    return float("nan") if found is None else found


def _names(axes: Axes, x: np.ndarray, y: np.ndarray, names: list[str]) -> None:
    """ε beside the points; of points that lie on each other in the picture only the first is named."""
    span = [max(float(np.ptp(values)), 1e-12) for values in (x, y)]
    named: list[tuple[float, float]] = []
    for a, b, name in zip(x / span[0], y / span[1], names, strict=True):
        if all(abs(a - c) > 0.035 or abs(b - d) > 0.045 for c, d in named):
            named.append((a, b))
            axes.annotate(name, (a * span[0], b * span[1]), (5, 5), textcoords="offset points", fontsize=9)
