"""Turns our records into the forms of W&B: flat rows of numbers, and a table. Does not import wandb."""

from typing import Any

_KEYS = frozenset({"kind", "round", "split"})


def history_row(record: dict[str, Any]) -> dict[str, float]:
    """A record of metrics.jsonl as one row: `round`, then round/NAME or eval/SPLIT/NAME.

    Nested figures have a path (round/time/round_s). `rejected` and `failures` become counts. Nulls and text are left
    out.
    """
    prefix = f"eval/{record['split']}" if record["kind"] == "eval" else "round"
    row: dict[str, float] = {"round": record["round"]}
    for name, value in record.items():
        if name in ("rejected", "failures"):
            row[f"{prefix}/{name}"] = len(value or {})
        elif name not in _KEYS:
            row.update(_numbers(f"{prefix}/{name}", value))
    return row


def summary_values(summary: dict[str, Any]) -> dict[str, Any]:
    """Figures and text of summary.json at its top level, as summary/NAME."""
    return {f"summary/{k}": v for k, v in summary.items() if isinstance(v, (bool, int, float, str))}


def allocation_values(allocation: dict[str, Any]) -> dict[str, float]:
    """Figures of the allocation: f1, and memory as vram/NAME.

    `vram/fleet_bytes` are the bytes of all clients. `vram/worst_share` is the largest share of a budget that a client
    uses; it is left out if no client has a budget.
    """
    clients = allocation["clients"]
    values = {
        **({"allocation/f1": allocation["f1"]} if allocation["f1"] is not None else {}),
        "vram/fleet_bytes": sum(client["bytes"] for client in clients),
    }
    shares = [client["bytes"] / client["budget_bytes"] for client in clients if client["budget_bytes"]]
    return {**values, "vram/worst_share": max(shares)} if shares else values


def allocation_table(allocation: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """(columns, rows) of a table of allocation.json, one row per client. Each block is a character, █ if it is active.

    The column of bytes names their source. `share` is the share of the budget.
    """
    source = f"bytes ({allocation['bytes_source']}, {allocation['accelerator']})"
    columns = ["client", "class", "examples", "budget_bytes", source, "share", f"blocks 0–{allocation['blocks'] - 1}"]
    rows = [
        [
            client["client"],
            client["class"],
            client["examples"],
            client["budget_bytes"],
            client["bytes"],
            client["bytes"] / client["budget_bytes"] if client["budget_bytes"] else None,
            "".join("█" if block in client["blocks"] else "·" for block in range(allocation["blocks"])),
        ]
        for client in allocation["clients"]
    ]
    return columns, rows


def _numbers(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, dict):
        return {k: v for key, child in value.items() for k, v in _numbers(f"{name}/{key}", child).items()}
    if isinstance(value, (bool, int, float)):
        return {name: int(value) if isinstance(value, bool) else value}
    return {}
