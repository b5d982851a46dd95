"""Our records in W&B's shapes: flat rows of numbers, a table, a picture. Imports no wandb."""

from typing import Any

import numpy as np

_KEYS = frozenset({"kind", "round", "split"})
_CELL, _SIDE = 24, 960
_ACTIVE, _FROZEN, _GRID = (31, 90, 140), (226, 229, 233), (255, 255, 255)


def history_row(record: dict[str, Any]) -> dict[str, float]:
    """A record of metrics.jsonl as one row: `round`, then round/NAME or eval/SPLIT/NAME.

    Nested figures get a path (round/time/round_s), `rejected` and `failures` their count; nulls and text are left out.
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
    """Figures of the allocation: f1, and memory against budget as vram/NAME.

    Bytes are the fleet's, as allocated and with all blocks active; `vram/worst_share` is the fullest client's share of
    its budget, left out where no client has one.
    """
    clients = allocation["clients"]
    values = {
        **({"allocation/f1": allocation["f1"]} if allocation["f1"] is not None else {}),
        "vram/fleet_bytes": sum(client["bytes"] for client in clients),
        "vram/all_active_bytes": allocation["bytes_all_active"] * len(clients),
    }
    shares = [client["bytes"] / client["budget_bytes"] for client in clients if client["budget_bytes"]]
    return {**values, "vram/worst_share": max(shares)} if shares else values


def allocation_rows(allocation: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Columns and rows of allocation.json, one row per client; `bytes` carries its source, `share` is of the budget."""
    source = f"bytes ({allocation['bytes_source']}, {allocation['accelerator']})"
    columns = ["client", "class", "examples", "budget_bytes", source, "share", "blocks"]
    rows = [
        [
            client["client"],
            client["class"],
            client["examples"],
            client["budget_bytes"],
            client["bytes"],
            client["bytes"] / client["budget_bytes"] if client["budget_bytes"] else None,
            " ".join(map(str, client["blocks"])),
        ]
        for client in allocation["clients"]
    ]
    return columns, rows


def allocation_picture(allocation: dict[str, Any]) -> tuple[np.ndarray, str]:
    """The allocation as a heat map: uint8 [height, width, 3], and its caption.

    One row per client; in a large fleet, one per distinct active set.
    """
    blocks = allocation["blocks"]
    rows = [tuple(client["blocks"]) for client in allocation["clients"]]
    down = f"clients 0 to {len(rows) - 1}"
    if len(rows) > _SIDE // 2:
        rows = list(dict.fromkeys(rows))[: _SIDE // 2]
        down = f"{len(rows)} distinct active sets"
    size = max(1, min(_CELL, _SIDE // max(len(rows), blocks)))
    cells = np.empty((len(rows), size, blocks, size, 3), dtype=np.uint8)
    cells[:] = _FROZEN
    for row, active in enumerate(rows):
        cells[row, :, list(active)] = _ACTIVE
    if size >= _CELL // 4:
        cells[:, -1] = _GRID
        cells[:, :, :, -1] = _GRID
    caption = f"down: {down}; across: blocks 0 to {blocks - 1}; dark: active"
    return cells.reshape(len(rows) * size, blocks * size, 3), caption


def _numbers(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, dict):
        return {k: v for key, child in value.items() for k, v in _numbers(f"{name}/{key}", child).items()}
    if isinstance(value, (bool, int, float)):
        return {name: int(value) if isinstance(value, bool) else value}
    return {}
