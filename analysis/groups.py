"""Run directories, found, read, and put into groups of the same settings but the seed, each with a short name.

A sweep's folder stands for the runs of its trials. Only finished runs are drawn; what is left out is named with its
reason, so that a figure never shows fewer runs than its reader believes without saying so.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Run
from zorba_ray.artifacts.sweep import is_sweep, read_sweep
from zorba_ray.config.base import flatten
from zorba_ray.errors import RunDirError
from zorba_ray.units import format_bytes

_NOT_COMPARED = frozenset({"name", "seed"})
"""Settings in which the runs of one group may differ, beside those of `tracking`."""
_SYMBOLS = {
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


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in nothing but their seed."""

    settings: dict[str, Any]
    """Dotted key -> value, without the seed and the names."""
    runs: tuple[Run, ...]
    """In order of seed, each seed once."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """Dotted key -> how a sweep calls the value, for values that have names (a fleet)."""
    label: str = ""
    """What tells this group from the others of its collection: the method, where each has another."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs."""
        return tuple(run.config.seed for run in self.runs)


def collect(paths: Sequence[Path]) -> tuple[list[Group], list[str]]:
    """Groups of the finished runs under `paths`, each a run directory or a sweep, in the order given; and what was left
    out, one line "DIR: reason" each.

    Raises:
        RunDirError: a path does not exist, a sweep cannot be read, or no finished run is left.
    """
    groups: dict[str, Group] = {}
    left_out: list[str] = []
    seen: set[Path] = set()
    for run, names in _runs(paths, left_out):
        if run.path.resolve() in seen:
            continue
        seen.add(run.path.resolve())
        if run.status != "finished":
            left_out.append(f"{run.path}: {run.status.replace('_', ' ')} after round {run.rounds_done}")
            continue
        flat = flatten(run.config.resolved(), unflattened=frozenset({"federation.fleet"}))
        flat = {key: v for key, v in flat.items() if key not in _NOT_COMPARED and not key.startswith("tracking.")}
        group = groups.get(key := json.dumps(flat, sort_keys=True), Group(flat, ()))
        if twin := next((other for other in group.runs if other.config.seed == run.config.seed), None):
            left_out.append(f"{run.path}: repeats seed {run.config.seed} of {twin.path}")
            continue
        runs = sorted([*group.runs, run], key=lambda run: run.config.seed)
        groups[key] = replace(group, runs=tuple(runs), shown={**group.shown, **names})
    if not groups:
        reasons = "".join(f"\n  {line}" for line in left_out)
        raise RunDirError(f"no finished run in {', '.join(map(str, paths))}{reasons}")
    found = list(groups.values())
    labels = [str(group.settings["method"]) for group in found]
    if len(set(labels)) < len(found):
        labels = labels_of([group.settings for group in found], [group.shown for group in found])
    return [replace(group, label=label) for group, label in zip(found, labels, strict=True)], left_out


def _runs(paths: Sequence[Path], left_out: list[str]) -> Iterator[tuple[Run, dict[str, str]]]:
    """(run, names of its values) under `paths`."""
    for path in paths:
        if is_sweep(path):
            for trial in read_sweep(path).trials:
                if trial.run is not None:
                    yield trial.run, {key: name for key, name in trial.entry.values.items() if isinstance(name, str)}
                else:
                    reason = trial.entry.error or trial.fault
                    left_out.append(f"{trial.path}: {trial.entry.status}{f' ({reason})' if reason else ''}, no run")
        elif not path.exists():
            raise RunDirError(f"{path}: no such directory")
        else:
            try:
                yield Run(path), {}
            except RunDirError as error:
                left_out.append(f"{path}: {error}")


def labels_of(settings: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, str]]) -> list[str]:
    """One label per mapping of settings, all different: the settings that are not the same everywhere.

    `shown` replaces values by names. The label is empty where there is only one mapping.
    """
    keys = dict.fromkeys(key for tree in settings for key in tree)
    differing = [key for key in keys if any(tree.get(key) != settings[0].get(key) for tree in settings)]
    differing.sort(key=lambda key: key not in _SYMBOLS)
    labels = [
        ", ".join(
            f"{_SYMBOLS.get(key, key.rsplit('.', 1)[-1])} = {names.get(key) or _value_text(key, tree[key])}"
            for key in differing
            if key in tree
        )
        for tree, names in zip(settings, shown, strict=True)
    ]
    return [
        label if labels.count(label) == 1 else f"{label} [{labels[: index + 1].count(label)}]"
        for index, label in enumerate(labels)
    ]


def _value_text(key: str, value: Any) -> str:
    """A value as a legend shows it; a fleet as '4 × 24 GiB + 4 × 8 GiB' or 'uniform 8 GiB to 24 GiB'."""
    if key != "federation.fleet":
        return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
    if isinstance(value, Mapping):
        low, high = format_bytes(value["low"]), format_bytes(value["high"])
        return f"{value['distribution'].replace('_', '-')} {low} to {high}"
    return "no budgets" if value is None else " + ".join(f"{k['count']} × {format_bytes(k['vram'])}" for k in value)
