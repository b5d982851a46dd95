"""Peak against budget, class by class: what a summary, the terminal and the report say of it."""

from collections.abc import Mapping
from typing import Any


def budget_rows(allocation: dict[str, Any], peaks: Mapping[int, int]) -> list[dict[str, Any]]:
    """One row per class of clients, in the order of the fleet: its fullest client, by share of the budget.

    Args:
        allocation: allocation.json.
        peaks: client -> bytes measured on a real GPU; empty on simulated ones.

    A row's `peak_bytes` are of `source`: `measured` where the client was measured, else what the allocation counted
    with. `largest_part` is of the memory model.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    for client in allocation["clients"]:
        kinds.setdefault(client["class"], []).append(client)
    rows = []
    for kind, clients in kinds.items():
        seen = [(peaks.get(client["client"], client["bytes"]), client) for client in clients]
        peak, client = max(seen, key=lambda own: (own[0] / (own[1]["budget_bytes"] or 1), -own[1]["client"]))
        parts = _parts(allocation, client)
        part = max(parts, key=lambda name: parts[name]) if parts else None
        budget = client["budget_bytes"]
        rows.append(
            {
                "class": kind,
                "clients": len(clients),
                "client": client["client"],
                "frozen": client.get("frozen"),
                "master": client.get("master"),
                "peak_bytes": peak,
                "source": "measured" if client["client"] in peaks else allocation["bytes_source"],
                "budget_bytes": budget,
                "share": None if budget is None else peak / budget,
                "largest_part": part,
                "largest_part_bytes": None if part is None else parts[part],
            }
        )
    return rows


def _parts(allocation: dict[str, Any], client: dict[str, Any]) -> dict[str, int]:
    """Modelled bytes by part; empty for an allocation.json that does not say where blocks live."""
    for own in allocation.get("placements", ()):
        if (own["frozen"], own["master"]) == (client["frozen"], client["master"]):
            return {**own["parts"], "active blocks": client["bytes"] - sum(own["parts"].values())}
    return {}
