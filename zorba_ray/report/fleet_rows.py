"""A fleet of any size as a few rows: one per client, or per group of clients with the share that holds each block."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from zorba_ray.artifacts.allocation import AllocationRecord, AssignedClient

GROUPS = 12
"""Rows of a fleet that is too large to show every client."""


@dataclass(frozen=True, eq=False)
class FleetRow:
    """One client, or several that are shown together."""

    name: str
    """Its id; empty for several clients."""
    kind: str
    """Class; empty where classes are mixed."""
    clients: int
    share: np.ndarray
    """float64 [L]: share of the row's clients on which a block is active; 0 or 1 for a single client."""
    blocks: tuple[int, int]
    """Fewest and most active blocks."""
    bytes: tuple[int, int]
    """Least and most held."""
    budget: tuple[int, int] | None
    """Smallest and largest budget; None where a client has none."""
    fullest: float | None
    """Largest share of its budget that a client uses."""
    examples: int
    """Of all clients of the row together."""


def fleet_rows(allocation: AllocationRecord, limit: int) -> list[FleetRow]:
    """Up to `limit` clients have a row each; more are shown by class, in at most GROUPS rows (or one per class), and a
    class of many budgets in parts of about equal size, from small to large budgets."""
    clients = allocation.clients
    if len(clients) <= limit:
        return [_row(str(one.client), [one], allocation.blocks) for one in clients]
    kinds: dict[str, list[AssignedClient]] = {}
    for one in clients:
        kinds.setdefault(one.kind, []).append(one)
    if len(kinds) > limit:
        return [_row("", part, allocation.blocks) for part in _by_budget(clients, GROUPS)]
    spare = max(0, GROUPS - len(kinds))
    rows = []
    for members in kinds.values():
        # Every class at least one row, the rest of the rows by size.
        for part in _by_budget(members, 1 + spare * len(members) // len(clients)):
            rows.append(_row("", part, allocation.blocks))
    return rows


def _by_budget(clients: Sequence[AssignedClient], most: int) -> list[list[AssignedClient]]:
    """Up to `most` parts by budget, none of which is torn where few budgets make few parts."""
    by_budget: dict[int, list[AssignedClient]] = {}
    for one in sorted(clients, key=lambda one: one.budget_bytes or 0):
        by_budget.setdefault(one.budget_bytes or 0, []).append(one)
    if len(by_budget) <= most:
        return list(by_budget.values())
    ordered = [one for members in by_budget.values() for one in members]
    cuts = np.linspace(0, len(ordered), most + 1).round().astype(int)
    return [ordered[start:stop] for start, stop in pairwise(cuts)]


def _row(name: str, part: Sequence[AssignedClient], blocks: int) -> FleetRow:
    held = np.zeros(blocks, dtype=np.int64)
    for one in part:
        held[list(one.blocks)] += 1
    kinds = {one.kind for one in part}
    counts, sizes = [len(one.blocks) for one in part], [one.bytes for one in part]
    budgets = [one.budget_bytes for one in part if one.budget_bytes is not None]
    known = len(budgets) == len(part)
    return FleetRow(
        name=name,
        kind=kinds.pop() if len(kinds) == 1 else "",
        clients=len(part),
        share=held / len(part),
        blocks=(min(counts), max(counts)),
        bytes=(min(sizes), max(sizes)),
        budget=(min(budgets), max(budgets)) if known else None,
        fullest=max((one.share or 0.0) for one in part) if known else None,
        examples=sum(one.examples for one in part),
    )
