"""Run directories, found, read, and put into groups: same settings but the seed.

A folder with `sweep.json` or `trials/` stands for the runs of its trials. Only finished runs are drawn; what is left
out is named with its reason, so that a figure never shows fewer runs than its reader believes without saying so.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.naming import flatten, labels_of
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError

NOT_COMPARED = frozenset({"name", "seed"})
"""Settings in which the runs of one group may differ, beside those of `tracking`."""


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in nothing but their seed."""

    settings: dict[str, Any]
    """Dotted key -> value, without the seed and the names."""
    runs: tuple[Run, ...]
    """In order of seed, each seed once."""
    shown: dict[str, str] = field(default_factory=dict)
    """Dotted key -> how a sweep calls the value, for values that have names (a fleet)."""
    label: str = ""
    """What tells this group from the others of its collection."""

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.config.seed for run in self.runs)


@dataclass(frozen=True)
class Collection:
    """What a script draws, and what it does not."""

    groups: tuple[Group, ...]
    left_out: tuple[str, ...]
    """One line "DIR: reason" each."""


def collect(paths: Sequence[Path]) -> Collection:
    """Groups of the finished runs under `paths`, each a run directory or a sweep, in the order given.

    Raises:
        RunDirError: a path does not exist or holds neither a run nor a sweep, or no finished run is left.
    """
    found: dict[str, list[Run]] = {}
    settings: dict[str, dict[str, Any]] = {}
    shown: dict[str, dict[str, str]] = {}
    left_out: list[str] = []
    seen: set[Path] = set()
    for path, names in _expand(paths, left_out):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            run = Run(path)
        except RunDirError as error:
            left_out.append(f"{path}: {error}")
            continue
        if run.status != "finished":
            left_out.append(f"{path}: {run.status.replace('_', ' ')} after round {run.rounds_done}")
            continue
        values = _compared(run)
        key = json.dumps(values, sort_keys=True)
        twin = next((other for other in found.get(key, []) if other.config.seed == run.config.seed), None)
        if twin is not None:
            left_out.append(f"{path}: repeats seed {run.config.seed} of {twin.path}")
            continue
        found.setdefault(key, []).append(run)
        settings[key] = values
        shown.setdefault(key, {}).update(names)
    if not found:
        reasons = "".join(f"\n  {line}" for line in left_out)
        raise RunDirError(f"no finished run in {', '.join(map(str, paths))}{reasons}")
    groups = [
        Group(settings[key], tuple(sorted(runs, key=lambda run: run.config.seed)), shown[key])
        for key, runs in found.items()
    ]
    names = labels_of([group.settings for group in groups], [group.shown for group in groups])
    if len(groups) == 1:
        names = [groups[0].runs[0].config.method]
    labelled = (Group(group.settings, group.runs, group.shown, name) for group, name in zip(groups, names, strict=True))
    return Collection(tuple(labelled), tuple(left_out))


def _compared(run: Run) -> dict[str, Any]:
    flat = flatten(run.config.resolved())
    return {key: value for key, value in flat.items() if key not in NOT_COMPARED and not key.startswith("tracking.")}


def _expand(paths: Sequence[Path], left_out: list[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """(run directory, names of its values) for every run under `paths`."""
    for path in paths:
        if (path / "config.resolved.json").exists():
            yield path, {}
        elif (path / "sweep.json").exists() or (path / "trials").is_dir():
            yield from _trials(path, left_out)
        elif not path.exists():
            raise RunDirError(f"{path}: no such directory")
        else:
            raise RunDirError(
                f"{path} is neither a run directory (config.resolved.json) nor a sweep (sweep.json or trials/)"
            )


def _trials(sweep: Path, left_out: list[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    recorded = _recorded_trials(sweep, left_out)
    folders = {path.name for path in (sweep / "trials").glob("*") if path.is_dir()}
    for name in sorted(folders | recorded.keys()):
        trial, path = recorded.get(name, {}), sweep / "trials" / name
        if (path / "config.resolved.json").exists():
            values = trial.get("values") or {}
            yield path, {key: value for key, value in values.items() if isinstance(value, str)}
        else:
            error = f" ({trial['error']})" if trial.get("error") else ""
            left_out.append(f"{path}: {trial.get('status', 'no run')}{error}, no config.resolved.json")


def _recorded_trials(sweep: Path, left_out: list[str]) -> dict[str, dict[str, Any]]:
    """Trials of sweep.json by the name of their directory; the runs are drawn without it too."""
    path = sweep / "sweep.json"
    if not path.exists():
        return {}
    try:
        trials = json.loads(path.read_text(encoding="utf-8"))["trials"]
        return {Path(trial["run"]).name: trial for trial in trials}
    except (OSError, ValueError, KeyError, TypeError) as error:
        left_out.append(f"{path}: cannot be read ({error!r}); its trials are taken from trials/ alone")
        return {}
