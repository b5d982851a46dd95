"""Who activates which blocks and what each client holds: drawn once, for a run's page and for `zorba-ray allocate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator

from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.report.figure import (
    BLUE,
    GREY,
    OFF,
    RED,
    Plot,
    legend,
    name_points,
    percent,
    picture,
    plot,
    short,
    unit_of,
)
from zorba_ray.report.fleet_rows import FleetRow, fleet_rows
from zorba_ray.tables.text import text_gap, text_value

SINGLE_CLIENTS = 24
"""Up to so many clients have a row each in figures; more are shown in groups."""
_SHADES = 10


def allocation_plots(allocation: AllocationRecord) -> list[Plot]:
    """Active blocks, for a page; none without clients."""
    if not allocation.clients:
        return []
    rows = fleet_rows(allocation, SINGLE_CLIENTS)
    holders = np.bincount([block for c in allocation.clients for block in c.blocks], minlength=allocation.blocks)
    grouped = len(rows) < len(allocation.clients)
    note = "Blue: active" + (", paler where only some clients of the row hold the block. " if grouped else ". ")
    note += f"Every block is active on {holders.min()} to {holders.max()} of {len(allocation.clients)} clients."

    def draw(figure: Figure) -> None:
        active_blocks(figure.add_subplot(), rows)

    return [plot("Active blocks by client", draw, 0.8 + 0.27 * max(5, len(rows)), note)]


def write_allocation_picture(allocation: AllocationRecord, path: Path) -> Path:
    """Active blocks beside bytes against budgets, of clients or of groups of them where there are many, as a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    rows = fleet_rows(allocation, SINGLE_CLIENTS)

    def draw(figure: Figure) -> None:
        blocks, held = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
        active_blocks(blocks, rows)
        source = f"{allocation.bytes_source}, {allocation.accelerator} accelerators"
        bytes_held(held, rows, f"VRAM of a client in {{}}\n({source})")
        held.tick_params(axis="y", length=0)
        legend(figure, held)
        gap = f", proven within {text_gap(allocation.gap)}" if allocation.gap is not None else ""
        figure.suptitle(
            f"{len(allocation.clients):,} clients × {allocation.blocks} blocks, ε = {allocation.epsilon:g}, "
            f"f1 = {text_value(allocation.f1) if allocation.f1 is not None else '∞'}{gap}",
            fontsize=11,
        )

    return picture(path, draw, 9.5, 2.0 + 0.27 * max(5, len(rows)))


def active_blocks(axes: Axes, rows: Sequence[FleetRow]) -> None:
    """A row of cells per client or group; the bluer, the more of its clients hold the block."""
    share = np.stack([row.share for row in rows])
    # One path per shade: drawn in the page's colours, and small for many cells. A rare holder is never shown as nobody.
    shade = np.ceil(share * _SHADES).astype(int)
    gap = 0.05 if share.shape[1] <= 64 else 0.0
    half = 0.5 - gap
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    for level in np.unique(np.append(shade, 0)).tolist():
        cells = np.argwhere(shade == level if level else shade >= 0)[:, ::-1]  # the ground lies under all of them
        outline = Outline.make_compound_path_from_polys(cells[:, None, :] + corners)
        color, alpha = (BLUE, level / _SHADES) if level else (OFF, 1.0)
        axes.add_patch(PathPatch(outline, facecolor=color, alpha=alpha if alpha < 1 else None, edgecolor="none"))
    axes.set_xlim(-0.5, share.shape[1] - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row_name(row) for row in rows], fontsize=9)
    axes.set_xlabel("block")
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def bytes_held(axes: Axes, rows: Sequence[FleetRow], label: str) -> None:
    """Bars up to the most that a client of the row holds, ticks at the budgets; `label` has {} for the unit."""
    largest = max(max(row.bytes[1], *(row.budget or (1,))) for row in rows)
    size, unit = unit_of(largest)
    axes.barh(range(len(rows)), [row.bytes[1] / size for row in rows], height=0.62, color=BLUE, label="held")
    ends = [(place, end / size) for place, row in enumerate(rows) for end in sorted(set(row.budget or ()))]
    if ends:
        y, x = np.array(ends).T
        axes.vlines(x, y - 0.42, y + 0.42, color=RED, linewidth=2.5, label="budget")
    axes.set_xlim(0, 1.06 * largest / size)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(label.format(unit))


def row_name(row: FleetRow) -> str:
    """As in '3  phone', or 'phone × 1,200' for a group."""
    if row.clients == 1:
        return f"{row.name}  {short(row.kind)}"
    return f"{short(row.kind) or 'mixed'} × {row.clients:,}"


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
    bytes_across = across == "vram" and not share
    scale, unit = unit_of(max(_objective(point, across) for point in points)) if bytes_across else (1, "")
    vram = "f2: worst share of a budget" if share else f"f2: VRAM of the fleet in {unit} ({record['bytes_source']})"
    labels = {"convergence": "f1 (all blocks active: 1)", "vram": vram, "time": "f3: seconds of a round (modelled)"}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        x = np.array([_objective(point, across) for point in points]) / scale
        y = np.array([_objective(point, up) for point in points])
        axes.plot(x, y, "o-", color=BLUE, label="front", linewidth=1, zorder=3)
        least = np.array([_objective(point, across, "bound") for point in points]) / scale
        if (least < x).any():
            label = "not proven: as far as here"
            axes.hlines(y, least, x, color=GREY, linewidth=1, linestyle=":", label=label, zorder=2)
        here = {entry["objective"]: entry["value"] for entry in record["objectives"]}
        label = f"these settings, ε = {record['epsilon']:g}"
        axes.plot(here[across] / scale, here[up], "o", ms=12, mfc="none", mew=1.6, label=label, color=RED)
        if record["greedy"] is not None:
            there = record["greedy"]["objectives"]
            axes.plot(there[across] / scale, there[up], "X", label="greedy", zorder=4, color=RED)
        name_points(axes, x, y, [f"{point['epsilon']:.3g}" for point in points])
        if across == "vram" and share:
            percent(axes.xaxis)
        axes.set(xlabel=labels[across], ylabel=labels[up])
        axes.margins(0.09, 0.12)
        axes.set_title("Pareto front over ε (beside each point)", loc="left")
        legend(figure, axes)

    return picture(path, draw, 6.4, 4.6)


def _objective(point: dict[str, Any], name: str, what: str = "value") -> float:
    value = next(entry[what] for entry in point["objectives"] if entry["objective"] == name)
    return float("nan") if value is None else value
