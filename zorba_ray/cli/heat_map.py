"""Who activates which blocks, in a terminal: clients (or groups of them) down, blocks across."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from rich.table import Table
from rich.text import Text

from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.cli.fitted import BORDERS, Column, fitted_table, fitting
from zorba_ray.report.fleet_rows import FleetRow, fleet_rows
from zorba_ray.units import format_bytes

ROWS = 24
"""More clients are shown in groups."""
LEAST_CELLS = 8
"""Columns beside the map are left out before it gets narrower than this."""
_SHADES = "·░▒▓█"
"""Nobody, under a third, under two thirds, not all, all."""


def shades(share: np.ndarray, cells: int) -> str:
    """One sign per block; with more blocks than `cells`, one sign for several blocks in a row, by their mean.

    Args:
        share: float [L] in [0, 1].
    """
    count = min(cells, len(share))
    edges = np.linspace(0, len(share), count + 1).round().astype(int)
    means = [float(share[start:stop].mean()) for start, stop in pairwise(edges)]
    return "".join(_SHADES[0 if mean <= 0 else 4 if mean >= 1 else 1 + int(3 * mean)] for mean in means)


def heat_map(allocation: AllocationRecord, width: int) -> Table:
    """Blocks, bytes and budget of every client, or of groups of clients where there are many; fits `width` columns."""
    rows = fleet_rows(allocation, ROWS)
    grouped = len(rows) < len(allocation.clients)
    before, after = _beside(rows, grouped)

    def columns(cells: int) -> list[Column]:
        name = f"blocks 0–{allocation.blocks - 1}"
        drawn = [Text(shades(row.share, cells), style="cyan") for row in rows]
        return [*before, Column(name if len(name) <= cells else "blocks", drawn, left=True), *after]

    # The map takes up to half of the width before columns beside it are left out, then what they leave.
    kept = fitting(columns(min(allocation.blocks, max(LEAST_CELLS, width // 2))), width)
    others = sum(column.width + BORDERS for column in kept if not column.name.startswith("blocks"))
    cells = min(allocation.blocks, max(LEAST_CELLS, width - 1 - BORDERS - others))
    what = f"{len(allocation.clients):,} clients in {len(rows)} groups" if grouped else f"{len(rows)} clients"
    return fitted_table(f"Active blocks: {what} × {allocation.blocks} blocks", columns(cells), width)


def legend(allocation: AllocationRecord, width: int) -> str:
    """What the signs mean, and how many clients hold a block."""
    held = np.zeros(allocation.blocks, dtype=np.int64)
    for client in allocation.clients:
        held[list(client.blocks)] += 1
    least = int(held.argmin())
    signs = "█ active, · not"
    if len(allocation.clients) > ROWS:
        signs = "share of a group's clients: · none, ░ under 1/3, ▒ under 2/3, ▓ more, █ all"
    elif allocation.blocks > width // 2:
        signs = "where blocks share a sign: · none, ░ under 1/3, ▒ under 2/3, ▓ more, █ all active"
    return (
        f"{signs}. Clients per block: {int(held.min()):,} to {int(held.max()):,} (fewest: block {least}); "
        f"VRAM figures are {allocation.bytes_source}, accelerators {allocation.accelerator}."
    )


def _beside(rows: list[FleetRow], grouped: bool) -> tuple[list[Column], list[Column]]:
    """Columns before the map, and after it."""
    budgets = any(row.budget is not None for row in rows)
    # What tells the groups apart stays on the narrowest terminal: their class, or their budgets.
    by_class = len({row.kind for row in rows}) > 1 and all(row.kind for row in rows)
    names = [f"{row.clients:,}" if grouped else row.name for row in rows]
    kinds = [_cut(row.kind or "mixed") for row in rows]
    before = [
        Column("clients" if grouped else "client", names, keep=-1 if grouped else 0),
        Column("class", kinds, keep=0 if grouped and by_class else -5, left=True),
        Column("examples", [f"{row.examples:,}" for row in rows], keep=-6),
    ]
    after = [
        Column("active", [_range(row.blocks, str) for row in rows], keep=-4),
        Column("holds", [_range(row.bytes, format_bytes) for row in rows], keep=-3 if budgets else -2),
    ]
    if budgets:
        limits = ["–" if row.budget is None else _range(row.budget, format_bytes) for row in rows]
        shares = ["–" if row.fullest is None else f"{row.fullest:.1%}" for row in rows]
        by_budget = grouped and not by_class
        after += [Column("budget", limits, keep=0 if by_budget else -3), Column("share", shares, keep=-2)]
    return before, after


def _range(ends: tuple[int, int], text: Callable[[int], str]) -> str:
    low, high = (text(end) for end in ends)
    return low if low == high else f"{low}–{high}"


def _cut(name: str, limit: int = 16) -> str:
    name = " ".join(name.split())
    return name if len(name) <= limit else name[: limit - 1] + "…"
