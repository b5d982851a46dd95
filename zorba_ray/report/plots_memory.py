"""Figures of the allocation: who activates which blocks, who holds how many bytes."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from zorba_ray.artifacts import Run
from zorba_ray.report.canvas import BLUE, MANY_CLIENTS, OFF, RED, Plot, budget_text, legend_below, plot, short, unit_of
from zorba_ray.report.numbers import text_percent
from zorba_ray.report.tables import met_text


def heat_map(run: Run) -> Plot | None:
    """Heat map of clients by blocks."""
    clients, blocks = run.allocation.clients, run.allocation.blocks
    if not clients:
        return None
    grid = np.zeros((len(clients), blocks))
    for row, client in enumerate(clients):
        grid[row, list(client.blocks)] = 1
    many = len(clients) > MANY_CLIENTS

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        # One path per colour: drawn by the page's colours, and small for thousands of clients.
        gap = 0.0 if many or blocks > 64 else 0.05
        for shown, color in ((grid == 0, OFF), (grid == 1, BLUE)):
            cells = _cells(shown, gap)
            if cells is not None:
                axes.add_patch(PathPatch(cells, facecolor=color, edgecolor=color if many else "none", linewidth=0.3))
        axes.set_xlim(-0.5, blocks - 0.5)
        axes.set_ylim(len(clients) - 0.5, -0.5)
        axes.set_xlabel("block")
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.grid(False)
        axes.tick_params(length=0)
        if many:
            axes.set_ylabel("client")
        else:
            names = [f"{c.client}  {short(c.kind)}{budget_text(c.budget_bytes)}" for c in clients]
            axes.set_yticks(range(len(clients)), names, fontsize=9)
        for spine in axes.spines.values():
            spine.set_visible(False)

    active = [len(client.blocks) for client in clients]
    alt = (
        f"Which of {blocks} blocks each of {len(clients)} clients activates: {min(active)} to {max(active)} blocks per "
        f"client; every block is active on {int(grid.sum(0).min())} to {int(grid.sum(0).max())} clients."
    )
    height = 3.4 if many else 0.8 + 0.27 * max(5, len(clients))
    note = "Blue: active." if many else "Blue: active. Beside a client: its class and VRAM budget."
    return plot("Active blocks by client", alt, draw, height, note)


def vram(run: Run, memory: str) -> Plot | None:
    """Bytes per client as bars, budgets as marks."""
    clients = run.allocation.clients
    if not clients:
        return None
    many = len(clients) > MANY_CLIENTS
    budgets = [(row, client.budget_bytes) for row, client in enumerate(clients) if client.budget_bytes is not None]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = np.arange(len(clients))
        largest = max([c.bytes for c in clients] + [budget for _, budget in budgets] + [1])
        size, unit = unit_of(largest)
        held = [client.bytes / size for client in clients]
        edge = BLUE if many else "none"  # without it, hairlines show between touching bars
        axes.barh(rows, held, height=1.0 if many else 0.62, color=BLUE, edgecolor=edge, linewidth=0.5, label="held")
        if budgets:
            y, x = np.array([row for row, _ in budgets]), [budget / size for _, budget in budgets]
            half = 0.55 if many else 0.42
            axes.vlines(x, y - half, y + half, color=RED, linewidth=2.5, label="budget")
        axes.set_ylim(len(clients) - 0.5, -0.5)
        axes.set_xlim(0, 1.06 * largest / size)
        if many:
            axes.set_ylabel("client")
        else:
            axes.set_yticks(rows, [f"{c.client}  {short(c.kind)}" for c in clients], fontsize=9)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(f"VRAM in {unit} ({memory})")
        legend_below(figure, axes, columns=2)

    shares = [client.share for client in clients if client.share is not None]
    span = (
        f"{met_text(run)}; from {text_percent(min(shares))} to {text_percent(max(shares))} of the budget"
        if shares
        else "no budgets"
    )
    height = 3.8 if many else 1.2 + 0.27 * max(5, len(clients))
    return plot(
        "VRAM per client",
        f"VRAM held per client, {memory}: {span}.",
        draw,
        height,
        f"{met_text(run).capitalize()}. Figures are {memory}.",
    )


def _cells(shown: np.ndarray, gap: float) -> Path | None:
    """Boxes of the true cells (rows × columns), neighbours in a row joined where there is no gap; None for no cell."""
    boxes = []
    for row, cells in enumerate(shown):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], cells.astype(np.int8), [0]))))
        spans = zip(edges[::2], edges[1::2], strict=True)
        if gap:
            spans = [(column, column + 1) for column in np.flatnonzero(cells)]
        for start, stop in spans:
            left, right = start - 0.5 + gap, stop - 0.5 - gap
            low, high = row - 0.5 + gap, row + 0.5 - gap
            boxes.append([(left, low), (right, low), (right, high), (left, high)])
    return Path.make_compound_path_from_polys(np.array(boxes, dtype=float)) if boxes else None
