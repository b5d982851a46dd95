"""The figure of memory: bytes of each client, its budget, and its bytes with all blocks active."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zorba_ray.artifacts.allocation import AllocationRecord, AssignedClient
from zorba_ray.report.figure import BLUE, GREY, INK, OFF, PALE, SINGLE_CLIENTS, Plot, plot, short, unit_of, whole_rounds
from zorba_ray.tables.text import text_count

_HELD, _ALL, _BUDGET = "held", "all blocks active", "budget"


def memory_plot(allocation: AllocationRecord, source: str) -> Plot | None:
    """The figure for all clients that take part, the largest budget first; None if no client has bytes.

    `source`: `memory_label` of the run.
    """
    clients = sorted(allocation.present, key=lambda c: (-(c.budget_bytes or 0), -c.bytes, c.client))
    if not any(client.bytes for client in clients):
        return None
    held = np.array([client.bytes for client in clients], dtype=float)
    all_active = np.array([allocation.bytes_all_active_of(client) or np.nan for client in clients], dtype=float)
    budgets = np.array([client.budget_bytes or np.nan for client in clients], dtype=float)
    size, unit = unit_of(float(np.nanmax([held, all_active, budgets])))

    def draw(figure: Figure) -> None:
        axes, values = figure.add_subplot(), np.stack([held, all_active, budgets]) / size
        if len(clients) <= SINGLE_CLIENTS:
            _bars(axes, clients, values, allocation.blocks)
        else:
            _lines(axes, values)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        shown = [name for name in (_HELD, _ALL, _BUDGET) if name in handles]
        figure.legend([handles[name] for name in shown], shown, loc="outside lower center", ncols=len(shown))

    note = f"Bytes are {source}."
    if np.isfinite(all_active).all():
        over = int((all_active > budgets).sum())
        fit = "no client" if over == len(clients) else f"only {len(clients) - over:,} of {len(clients):,} clients"
        then = f"Then {fit} would fit. " if over else ""
        note = f"All blocks active: same placement, batch and tensors. {then}{note}"
    title = f"Memory (VRAM) of a client, in {unit}" + (", against its budget" if np.isfinite(budgets).any() else "")
    return plot(title, draw, 1.1 + 0.24 * max(6, len(clients)) if len(clients) <= SINGLE_CLIENTS else 3.0, note)


def _bars(axes: Axes, clients: Sequence[AssignedClient], values: np.ndarray, blocks: int) -> None:
    """A bar per client, with its number of active blocks. `values`: [3, clients], held, all blocks active, budget."""
    rows, (held, all_active, budgets) = np.arange(len(clients)), values
    if np.isfinite(all_active).any():
        axes.barh(rows, all_active, 0.72, color=OFF, edgecolor=GREY, linewidth=0.8, linestyle=(0, (3, 2)), label=_ALL)
    axes.barh(rows, held, 0.72, color=BLUE, label=_HELD)
    if np.isfinite(budgets).any():
        axes.plot(budgets, rows, "|", color=INK, markersize=13, markeredgewidth=2.2, label=_BUDGET)
    right = float(np.nanmax(values))
    for row, client in zip(rows, clients, strict=True):
        text = f"{len(client.blocks)} of {text_count(blocks, 'block')}"
        axes.annotate(text, (right, row), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlim(0, 1.28 * right)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= right])
    axes.set_yticks(rows, [f"{client.client}  {short(client.kind)}" for client in clients], fontsize=9)
    axes.set_ylim(len(clients) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _lines(axes: Axes, values: np.ndarray) -> None:
    """Lines over many clients, from the largest budget to the smallest. `values`: as of `_bars`."""
    edges, (held, all_active, budgets) = np.arange(values.shape[1] + 1), values
    axes.stairs(held, edges, fill=True, color=PALE)
    axes.stairs(held, edges, baseline=None, color=BLUE, label=_HELD)
    for line, color, dash, label in ((all_active, GREY, (0, (3, 2)), _ALL), (budgets, INK, "-", _BUDGET)):
        if np.isfinite(line).any():
            axes.stairs(line, edges, baseline=None, color=color, linestyle=dash, linewidth=1.4, label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, values.shape[1])
    axes.set(xlabel="clients, from the largest budget to the smallest")
    whole_rounds(axes)
