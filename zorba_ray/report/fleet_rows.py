"""Shows a fleet of any size in a few rows: one per client, or one per group of clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from zorba_ray.artifacts.allocation import AllocationRecord, AssignedClient

GROUPS = 12
"""Most rows for a fleet that is too large to show every client."""


@dataclass(frozen=True, eq=False)
class FleetRow:
    """One client, or several that are shown together."""

    name: str
    """Its id; empty for several clients."""
    kind: str
    """Class; empty if the clients have several classes."""
    clients: int
    share: np.ndarray
    """float64 [L]: share of the row's clients on which a block is active; 0 or 1 for a single client."""
    blocks: tuple[int, int]
    """Smallest and largest number of active blocks."""
    bytes: tuple[int, int]
    """Smallest and largest number of bytes of a client."""
    budget: tuple[int, int] | None
    """Smallest and largest budget; None if a client has no budget."""
    fullest: float | None
    """Largest share of its budget that a client uses."""
    examples: int
    """Of all clients of the row together."""


def fleet_rows(allocation: AllocationRecord, limit: int) -> list[FleetRow]:
    """Up to `limit` clients have a row each. More clients are shown by class, in at most GROUPS rows (or one per
    class).

    A class with many budgets has several rows of about equal size, from small to large budgets.
    """
    clients = allocation.clients
    if len(clients) <= limit:
        return [_row(str(client.client), [client], allocation.blocks) for client in clients]
    kinds: dict[str, list[AssignedClient]] = {}
    for client in clients:
        kinds.setdefault(client.kind, []).append(client)
    if len(kinds) > limit:
        return [_row("", part, allocation.blocks) for part in _by_budget(clients, GROUPS)]
    spare = max(0, GROUPS - len(kinds))
    rows = []
    for members in kinds.values():
        # Every class has at least one row; further rows are given by size.
        for part in _by_budget(members, 1 + spare * len(members) // len(clients)):
            rows.append(_row("", part, allocation.blocks))
    return rows


def _by_budget(clients: Sequence[AssignedClient], most: int) -> list[list[AssignedClient]]:
    """Up to `most` parts by budget. If there are no more budgets than parts, each budget is one part."""
    by_budget: dict[int, list[AssignedClient]] = {}
    for client in sorted(clients, key=lambda client: client.budget_bytes or 0):
        by_budget.setdefault(client.budget_bytes or 0, []).append(client)
    if len(by_budget) <= most:
        return list(by_budget.values())
    ordered = [client for members in by_budget.values() for client in members]
    cuts = np.linspace(0, len(ordered), most + 1).round().astype(int)
    return [ordered[start:stop] for start, stop in pairwise(cuts)]


def _row(name: str, part: Sequence[AssignedClient], blocks: int) -> FleetRow:
    holders = np.zeros(blocks, dtype=np.int64)
    for client in part:
        holders[list(client.blocks)] += 1
    kinds = {client.kind for client in part}
    counts, sizes = [len(client.blocks) for client in part], [client.bytes for client in part]
    budgets = [client.budget_bytes for client in part if client.budget_bytes is not None]
    all_have_budgets = len(budgets) == len(part)
    return FleetRow(
        name=name,
        kind=kinds.pop() if len(kinds) == 1 else "",
        clients=len(part),
        share=holders / len(part),
        blocks=(min(counts), max(counts)),
        bytes=(min(sizes), max(sizes)),
        budget=(min(budgets), max(budgets)) if all_have_budgets else None,
        fullest=max((client.share or 0.0) for client in part) if all_have_budgets else None,
        examples=sum(client.examples for client in part),
    )
