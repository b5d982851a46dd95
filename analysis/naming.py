"""Short names of settings and values for legends and rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from zorba_ray.units import format_bytes

SYMBOLS = {
    "allocation.epsilon": "ε",
    "data.alpha": "α",
    "data.path": "data",
    "federation.clients": "N",
    "federation.fleet": "fleet",
    "federation.seeds": "seeds",
    "model.path": "model",
    "zo.directions": "P",
    "zo.local_steps": "K",
    "zo.lr": "η",
    "zo.perturbation_scale": "μ",
}
"""Symbols as in NOTATION.md; other settings go by the last part of their key."""


def labels_of(settings: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, str]]) -> list[str]:
    """One label per mapping of settings, all different: the settings that are not the same everywhere.

    `shown` replaces values by names. The label is empty where there is only one mapping.
    """
    keys = dict.fromkeys(key for tree in settings for key in tree)
    differing = [key for key in keys if any(tree.get(key) != settings[0].get(key) for tree in settings)]
    differing.sort(key=lambda key: key not in SYMBOLS)
    labels = [
        ", ".join(
            f"{SYMBOLS.get(key, key.rsplit('.', 1)[-1])} = {names.get(key) or value_text(key, tree[key])}"
            for key in differing
            if key in tree
        )
        for tree, names in zip(settings, shown, strict=True)
    ]
    return [
        label if labels.count(label) == 1 else f"{label} [{labels[: index + 1].count(label)}]"
        for index, label in enumerate(labels)
    ]


def value_text(key: str, value: Any) -> str:
    """A value as a legend shows it; a fleet as '4 × 24 GiB + 4 × 8 GiB' or 'uniform 8 GiB to 24 GiB'."""
    if key != "federation.fleet":
        return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
    if isinstance(value, Mapping):
        low, high = format_bytes(value["low"]), format_bytes(value["high"])
        return f"{value['distribution'].replace('_', '-')} {low} to {high}"
    return "no budgets" if value is None else " + ".join(f"{k['count']} × {format_bytes(k['vram'])}" for k in value)
