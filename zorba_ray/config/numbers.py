"""Which settings change the results of a run, and their digest."""

import hashlib
import json
from typing import Any

from zorba_ray.config.task import TaskConfig

NOT_NUMBERS = (
    "name",
    "model.path",
    "model.lora.path",
    "data.path",
    "data.revision",
    "directions.backend",
    "eval",
    "tracking",
    "federation.backend",
    "federation.mode",
    "federation.workers",
    "federation.gpus",
    "federation.gpu_memory",
    "federation.deadline_s",
    "federation.retries",
    "federation.quorum",
    "federation.patience",
    "federation.snapshot_every",
    "privacy.secret_file",
    "allocation.time_limit_s",
    "allocation.gap",
)
"""Settings that may change between a run and its resume. Paths are judged by what they hold: the weights and the data
have digests of their own; the allocation is read back from the run directory."""

LATER: dict[str, Any] = {
    "adversaries": [],
    "data.labels_per_client": 2,
    "federation.spares": 0,
    "federation.aggregate": "mean",
    "federation.spread": None,
    "federation.byzantine": None,
    "federation.authenticated": False,
    "privacy": None,
    "data.batch_tokens": None,
    "memory.frozen_format": "compute",
    "memory.stem_format": "compute",
    "zo.directions_per": "batch",
    "zo.examples_per_direction": 1,
    **{f"task.{key}": value for key, value in TaskConfig().model_dump(mode="json").items()},
}
"""Settings that came after the first release -> the value that is as if they were not there. They count from another
value on, so that ledgers and digests of before still fit."""

_OLD_SPREAD = "zo.clip_spread"


def numbers_of(resolved: dict[str, Any]) -> dict[str, Any]:
    """The settings that change results, dotted key -> value; NOT_NUMBERS are left out, and LATER at its value.

    Args:
        resolved: all settings, as `ExperimentConfig.resolved` gives them.
    """
    flat: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        if prefix in NOT_NUMBERS:
            return
        if isinstance(node, dict):
            for key, child in node.items():
                walk(child, f"{prefix}.{key}" if prefix else key)
        elif prefix not in LATER or node != LATER[prefix]:
            flat[prefix] = node

    walk(resolved, "")
    # `federation.aggregate: clip_spread` was the setting zo.clip_spread: it counts as that, so that digests stay.
    flat[_OLD_SPREAD] = flat.pop("federation.spread", flat.get(_OLD_SPREAD))
    if flat[_OLD_SPREAD] is not None:
        flat.pop("federation.aggregate", None)
    return flat


def numbers_digest(numbers: dict[str, Any]) -> str:
    """SHA-256 (hex) of the settings that change results."""
    return hashlib.sha256(json.dumps(numbers, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def changed_numbers(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One line 'key: old -> new' per setting that differs.

    Args:
        old, new: of `numbers_of`.
    """
    before, after = {**LATER, **old}, {**LATER, **new}
    keys = sorted(before.keys() | after.keys())
    names = {_OLD_SPREAD: "federation.spread"}
    return [
        f"{names.get(key, key)}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in keys
        if before.get(key) != after.get(key)
    ]
