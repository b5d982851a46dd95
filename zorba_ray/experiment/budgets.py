"""Peak against budget, class by class: what a summary, the terminal and the report say of it."""

from collections.abc import Mapping
from typing import Any

from zorba_ray.artifacts.allocation import AllocationRecord, AssignedClient


def budget_rows(allocation: AllocationRecord, peaks: Mapping[int, int]) -> list[dict[str, Any]]:
    """One row per class of clients, in the order of the fleet: its fullest client, by share of the budget.

    A row's `peak_bytes` are of `source`: `measured` where the client was measured, else what the allocation counted
    with. `largest_part` is of the memory model.

    Args:
        peaks: client -> bytes measured on a real GPU; empty on simulated ones.
    """
    classes: dict[str, list[AssignedClient]] = {}
    for client in allocation.clients:
        classes.setdefault(client.kind, []).append(client)
    placements: dict[tuple[str | None, str | None], dict[str, int]] = {
        (where.frozen, where.master): where.parts for where in allocation.placements
    }

    def peak_of(client: AssignedClient) -> int:
        return peaks.get(client.client, client.bytes)

    rows = []
    for kind, clients in classes.items():
        fullest = max(clients, key=lambda each: (peak_of(each) / (each.budget_bytes or 1), -each.client))
        parts = placements[fullest.frozen, fullest.master]
        parts = {**parts, "active blocks": fullest.bytes - sum(parts.values())}
        part = max(parts, key=lambda name: parts[name])
        budget, peak = fullest.budget_bytes, peak_of(fullest)
        rows.append(
            {
                "class": kind,
                "clients": len(clients),
                "client": fullest.client,
                "frozen": fullest.frozen,
                "master": fullest.master,
                "peak_bytes": peak,
                "source": "measured" if fullest.client in peaks else allocation.bytes_source,
                "budget_bytes": budget,
                "share": None if budget is None else peak / budget,
                "largest_part": part,
                "largest_part_bytes": parts[part],
            }
        )
    return rows
