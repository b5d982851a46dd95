"""The map of active blocks in a terminal: one row per client, or per group of clients, and one character per block."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.report.fleet_rows import FleetRow, fleet_rows
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import text_percent
from zorba_ray.units import format_bytes

ROWS = 24
"""With more clients than this, they are shown in groups."""
LEAST_CELLS = 8
"""Least width of the map in characters; other columns are left out first."""
_SHADES = "·░▒▓█"
"""Share of clients with the block: none, under a third, under two thirds, not all, all."""


def shades(share: np.ndarray, cells: int) -> str:
    """One character per block. With more blocks than `cells`, one character stands for several blocks, by their mean.

    Args:
        share: float [L] in [0, 1].
    """
    count = min(cells, len(share))
    edges = np.linspace(0, len(share), count + 1).round().astype(int)
    means = [float(share[start:stop].mean()) for start, stop in pairwise(edges)]
    return "".join(_SHADES[0 if mean <= 0 else 4 if mean >= 1 else 1 + int(3 * mean)] for mean in means)


def allocation_map(allocation: AllocationRecord, width: int) -> Table[FleetRow]:
    """Blocks, bytes and budget of every client, or of groups of clients if there are many.

    The map takes a third of the `width`, and at least LEAST_CELLS characters. `Table.terminal` leaves out columns that
    do not fit.
    """
    rows = fleet_rows(allocation, ROWS)
    grouped = len(rows) < len(allocation.clients)
    what = f"{len(allocation.clients):,} clients in {len(rows)} groups" if grouped else f"{len(rows)} clients"
    cells = max(LEAST_CELLS, width // 3)
    columns: list[Column[FleetRow]] = [
        # The column that identifies a row is never left out.
        Column("clients" if grouped else "client", lambda row: row.clients if grouped else row.name, str),
        Column("class", lambda row: _cut(row.kind or "mixed"), keep=-5),
        Column("examples", lambda row: row.examples, "{:,}".format, keep=-6),
        Column("blocks", lambda row: shades(row.share, cells), style="cyan"),
        Column("active", lambda row: _range(row.blocks, str), str, keep=-4),
        Column("holds", lambda row: _range(row.bytes, format_bytes), str, keep=-3),
    ]
    if any(row.budget for row in rows):
        columns += [
            Column[FleetRow]("budget", lambda row: row.budget and _range(row.budget, format_bytes), str, keep=-2),
            Column[FleetRow]("share", lambda row: row.fullest, text_percent, keep=-1),
        ]
    return Table(f"Active blocks: {what} × {allocation.blocks} blocks", rows, columns)


def map_legend(allocation: AllocationRecord, width: int) -> str:
    """The meaning of the characters, and how many clients hold a block."""
    holders = np.zeros(allocation.blocks, dtype=np.int64)
    for client in allocation.clients:
        holders[list(client.blocks)] += 1
    least = int(holders.argmin())
    signs = "█ active, · not"
    if len(allocation.clients) > ROWS:
        signs = "share of a group's clients: · none, ░ under 1/3, ▒ under 2/3, ▓ more, █ all"
    elif allocation.blocks > max(LEAST_CELLS, width // 3):
        signs = "share of active ones among the blocks of a sign: · none, ░ under 1/3, ▒ under 2/3, ▓ more, █ all"
    return (
        f"{signs}. Clients per block: {int(holders.min()):,} to {int(holders.max()):,} (fewest: block {least}); "
        f"VRAM figures are {allocation.bytes_source}; accelerators are {allocation.accelerator}."
    )


def _range(ends: tuple[int, int], text: Callable[[int], str]) -> str:
    low, high = (text(end) for end in ends)
    return low if low == high else f"{low}–{high}"


def _cut(name: str, limit: int = 16) -> str:
    name = " ".join(name.split())
    return name if len(name) <= limit else name[: limit - 1] + "…"
