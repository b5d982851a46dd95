"""Our records in W&B's shapes: flat rows of numbers. Imports no wandb."""

from typing import Any

_KEYS = frozenset({"kind", "round", "split"})


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


def allocation_rows(allocation: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Columns and rows of allocation.json, one row per client; `bytes` carries its source."""
    source = f"bytes ({allocation['bytes_source']}, {allocation['accelerator']})"
    columns = ["client", "class", "examples", "budget_bytes", source, "blocks"]
    rows = [
        [c["client"], c["class"], c["examples"], c["budget_bytes"], c["bytes"], " ".join(map(str, c["blocks"]))]
        for c in allocation["clients"]
    ]
    return columns, rows


def _numbers(name: str, value: Any) -> dict[str, float]:
    if isinstance(value, dict):
        return {k: v for key, child in value.items() for k, v in _numbers(f"{name}/{key}", child).items()}
    if isinstance(value, (bool, int, float)):
        return {name: int(value) if isinstance(value, bool) else value}
    return {}
