"""Run directories, found, read, and put into groups: same settings but the seed.

A folder with `sweep.json` or `trials/` stands for the runs of its trials. Only finished runs are drawn; what is left
out is named with its reason, so that a figure never shows fewer runs than its reader believes without saying so.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.naming import labels_of
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError
from zorba_ray.report.settings import flatten

NOT_COMPARED = frozenset({"name", "seed"})
"""Settings in which the runs of one group may differ, beside those of `tracking`."""


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
    """What tells this group from the others of its collection."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs."""
        return tuple(run.config.seed for run in self.runs)


def collect(paths: Sequence[Path]) -> tuple[list[Group], list[str]]:
    """Groups of the finished runs under `paths`, each a run directory or a sweep, in the order given; and what was left
    out, one line "DIR: reason" each.

    Raises:
        RunDirError: a path does not exist or holds neither a run nor a sweep, or no finished run is left.
    """
    groups: dict[str, Group] = {}
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
        flat = flatten(run.config.resolved(), whole=frozenset({"federation.fleet"}))
        flat = {key: v for key, v in flat.items() if key not in NOT_COMPARED and not key.startswith("tracking.")}
        group = groups.get(key := json.dumps(flat, sort_keys=True), Group(flat, ()))
        if twin := next((other for other in group.runs if other.config.seed == run.config.seed), None):
            left_out.append(f"{path}: repeats seed {run.config.seed} of {twin.path}")
            continue
        runs = sorted([*group.runs, run], key=lambda run: run.config.seed)
        groups[key] = replace(group, runs=tuple(runs), shown={**group.shown, **names})
    if not groups:
        reasons = "".join(f"\n  {line}" for line in left_out)
        raise RunDirError(f"no finished run in {', '.join(map(str, paths))}{reasons}")
    found = list(groups.values())
    labels = labels_of([group.settings for group in found], [group.shown for group in found])
    labels = [found[0].runs[0].config.method] if len(found) == 1 else labels
    return [replace(group, label=label) for group, label in zip(found, labels, strict=True)], left_out


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
    """The trials of sweep.json, by the name of their directory; the runs are drawn without it too."""
    recorded: dict[str, dict[str, Any]] = {}
    try:
        tree = json.loads((sweep / "sweep.json").read_text(encoding="utf-8"))
        recorded = {Path(trial["run"]).name: trial for trial in tree["trials"]}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        left_out.append(f"{sweep}/sweep.json: cannot be read ({error!r}); its trials are taken from trials/ alone")
    folders = {path.name for path in (sweep / "trials").glob("*") if path.is_dir()}
    for name in sorted(folders | recorded.keys()):
        trial, path = recorded.get(name, {}), sweep / "trials" / name
        if (path / "config.resolved.json").exists():
            values = trial.get("values") or {}
            yield path, {key: value for key, value in values.items() if isinstance(value, str)}
        else:
            error = f" ({trial['error']})" if trial.get("error") else ""
            left_out.append(f"{path}: {trial.get('status', 'no run')}{error}, no config.resolved.json")
