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
    keys = differing(settings)
    labels = [
        ", ".join(f"{symbol(key)} = {value_text(key, one[key], names)}" for key in keys if key in one)
        for one, names in zip(settings, shown, strict=True)
    ]
    return [
        label if labels.count(label) == 1 else f"{label} [{labels[: index + 1].count(label)}]"
        for index, label in enumerate(labels)
    ]


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose values are not the same in all mappings, those with a symbol first."""
    keys = dict.fromkeys(key for one in settings for key in one)
    found = [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]
    return sorted(found, key=lambda key: key not in SYMBOLS)


def symbol(key: str) -> str:
    """zo.lr -> η."""
    return SYMBOLS.get(key, key.rsplit(".", 1)[-1])


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections to dotted keys; lists and the fleet stay whole."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and prefix + key != "federation.fleet":
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def value_text(key: str, value: Any, shown: Mapping[str, str]) -> str:
    """A value as a legend shows it; `shown` has names for some keys."""
    if key in shown:
        return shown[key]
    if key == "federation.fleet":
        return fleet_text(value)
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def fleet_text(fleet: Any) -> str:
    """'4 × 24 GiB + 4 × 8 GiB', 'uniform 8 GiB to 24 GiB', 'no budgets'."""
    if fleet is None:
        return "no budgets"
    if isinstance(fleet, Mapping):
        low, high = format_bytes(fleet["low"]), format_bytes(fleet["high"])
        return f"{fleet['distribution'].replace('_', '-')} {low} to {high}"
    return " + ".join(f"{kind['count']} × {format_bytes(kind['vram'])}" for kind in fleet)
