"""Figures of active blocks, for a run's page and for `zorba-ray allocate`; and the Pareto front of allocations."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.report.figure import (
    BLUE,
    RED,
    SINGLE_CLIENTS,
    Plot,
    legend,
    name_points,
    percent,
    picture,
    plot,
    shaded_cells,
    short,
    unit_of,
)
from zorba_ray.report.fleet_rows import FleetRow, fleet_rows
from zorba_ray.tables.text import text_gap, text_value


def allocation_plots(allocation: AllocationRecord) -> list[Plot]:
    """The figure of active blocks for a page; empty without clients."""
    if not allocation.clients:
        return []
    rows = fleet_rows(allocation, SINGLE_CLIENTS)
    holders = np.bincount([block for c in allocation.clients for block in c.blocks], minlength=allocation.blocks)
    grouped = len(rows) < len(allocation.clients)
    note = "Blue: active" + (", paler if only some clients of the row hold the block. " if grouped else ". ")
    note += f"Every block is active on {holders.min()} to {holders.max()} of {len(allocation.clients)} clients."

    def draw(figure: Figure) -> None:
        active_blocks(figure.add_subplot(), rows)

    return [plot("Active blocks by client", draw, 0.8 + 0.27 * max(5, len(rows)), note)]


def write_allocation_picture(allocation: AllocationRecord, path: Path) -> Path:
    """Writes the figure of active blocks of clients, or of groups if there are many, as a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    rows = fleet_rows(allocation, SINGLE_CLIENTS)
    gap = f", proven within {text_gap(allocation.gap)}" if allocation.gap is not None else ""
    title = (
        f"{len(allocation.clients):,} clients × {allocation.blocks} blocks, ε = {allocation.epsilon:g}, "
        f"f1 = {text_value(math.inf if allocation.f1 is None else allocation.f1)}{gap}"
    )

    def draw(figure: Figure) -> None:
        active_blocks(figure.add_subplot(title=title), rows)

    return picture(path, draw, 7.5, 1.4 + 0.27 * max(5, len(rows)))


def active_blocks(axes: Axes, rows: Sequence[FleetRow]) -> None:
    """Draws a row of cells per client or group. A cell is bluer if more of its clients hold the block."""
    share = np.stack([row.share for row in rows])
    shaded_cells(axes, share)
    axes.set_xlim(-0.5, share.shape[1] - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [_row_name(row) for row in rows], fontsize=9)
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def write_front_picture(front: dict[str, Any], record: dict[str, Any], path: Path) -> Path:
    """Draws two objectives of every point of the front, and the allocation of these settings. f1 is on the vertical
    axis if it is one of the two.

    `front` and `record` are front.json and allocation.json.

    Raises:
        OSError: the file cannot be written.
    """
    points, order = front["points"], [entry["objective"] for entry in record["objectives"]]
    up = "convergence" if "convergence" in order else order[0]
    across = next(objective for objective in order if objective != up)
    share = record["vram_objective"] == "worst_share"
    bytes_across = across == "vram" and not share
    scale, unit = unit_of(max(_objective(point, across) for point in points)) if bytes_across else (1, "")
    vram = "f2: worst share of a budget" if share else f"f2: VRAM of the fleet in {unit} ({record['bytes_source']})"
    labels = {"convergence": "f1 (all blocks active: 1)", "vram": vram, "time": "f3: seconds of a round (modelled)"}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        x = np.array([_objective(point, across) for point in points]) / scale
        y = np.array([_objective(point, up) for point in points])
        axes.plot(x, y, "o-", color=BLUE, label="front", linewidth=1, zorder=3)
        these_settings = {entry["objective"]: entry["value"] for entry in record["objectives"]}
        label = f"these settings, ε = {record['epsilon']:g}"
        axes.plot(
            these_settings[across] / scale, these_settings[up], "o", ms=12, mfc="none", mew=1.6, label=label, color=RED
        )
        name_points(axes, x, y, [f"{point['epsilon']:.3g}" for point in points])
        if across == "vram" and share:
            percent(axes.xaxis)
        axes.set(xlabel=labels[across], ylabel=labels[up])
        axes.margins(0.09, 0.12)
        axes.set_title("Pareto front over ε (beside each point)", loc="left")
        legend(figure, axes)

    return picture(path, draw, 6.4, 4.6)


def _objective(point: dict[str, Any], name: str) -> float:
    return next(entry["value"] for entry in point["objectives"] if entry["objective"] == name)


def _row_name(row: FleetRow) -> str:
    """A name such as '3  phone', or 'phone × 1,200' for a group."""
    if row.clients == 1:
        return f"{row.name}  {short(row.kind)}"
    return f"{short(row.kind) or 'mixed'} × {row.clients:,}"
