"""A sweep read from its directory: every trial with its run. The sweep may be finished, running or killed."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zorba_ray.artifacts.campaigns import Metric, Sweep, Trial
from zorba_ray.artifacts.metrics import Eval
from zorba_ray.artifacts.record import read_record
from zorba_ray.artifacts.run import Run
from zorba_ray.errors import RunDirError


@dataclass(frozen=True)
class TrialRecord:
    """A trial with its run."""

    entry: Trial
    """The trial in sweep.json. Values other than numbers and text are JSON text."""
    path: Path
    run: Run | None
    """None if the run directory is missing or cannot be read."""
    fault: str
    """Why `run` is None; empty if there is a run, or if the trial has not begun."""

    @property
    def finished(self) -> bool:
        """Whether it reached its last round."""
        return self.entry.status == "finished"

    @property
    def broken(self) -> bool:
        """Whether it failed or diverged; its figures then say nothing about its settings."""
        return self.entry.status in ("failed", "diverged")

    @property
    def round(self) -> int:
        """Last round that is known."""
        return self.entry.round if self.entry.round is not None else self.run.rounds_done if self.run else 0

    def figure(self, name: str) -> float | None:
        """A figure such as `validation_loss` or `fleet_vram_bytes`, from sweep.json or else from the run's files; None
        if it is unknown or not finite."""
        number = self.entry.figures.get(name)
        if (number is None or not math.isfinite(number)) and self.run is not None and name in FIGURES:
            number = FIGURES[name](self.run)
        return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True)
class SweepRecord:
    """A sweep; fields as of `Sweep`."""

    path: Path
    name: str
    question: str
    status: str
    command: tuple[str, ...]
    started: str | None
    wall_s: float | None
    metrics: tuple[Metric, ...]
    space: dict[str, Any]
    settings: dict[str, Any]
    base: dict[str, Any]
    trials: tuple[TrialRecord, ...]

    def with_status(self, *names: str) -> tuple[TrialRecord, ...]:
        """Trials of these statuses."""
        return tuple(trial for trial in self.trials if trial.entry.status in names)


def is_sweep(path: str | Path) -> bool:
    """Whether a directory is that of a sweep."""
    return (Path(path) / Sweep.FILE).is_file()


def read_sweep(path: str | Path) -> SweepRecord:
    """Reads a sweep directory and the run directories of its trials. A missing or damaged run is no error: its trial
    has a `fault`.

    Raises:
        RunDirError: no such directory; sweep.json is missing or damaged, or has a run outside the directory.
    """
    path = Path(path)
    if not path.is_dir():
        raise RunDirError(f"{path}: no such sweep directory")
    where = path / Sweep.FILE
    file = read_record(where, Sweep, "sweep", printable=True)
    trials = []
    for entry in file.trials:
        relative = PurePosixPath(entry.run)
        if relative.is_absolute() or ".." in relative.parts:
            raise RunDirError(f"{where}: trial {entry.trial}: run {entry.run!r} is outside the sweep's directory")
        entry.values = {key: _scalar(value) for key, value in entry.values.items()}
        trials.append(_trial(entry, path / relative))
    fields = {name: getattr(file, name) for name in SweepRecord.__annotations__ if name not in ("path", "trials")}
    return SweepRecord(path=path, trials=tuple(trials), **fields)


def _trial(entry: Trial, path: Path) -> TrialRecord:
    try:
        return TrialRecord(entry, path, Run(path), "")
    except RunDirError as error:
        # While the run directory of a new trial is being created, its absence is no fault.
        begun = entry.status not in ("pending", "running")
        return TrialRecord(entry, path, None, str(error) if begun else "")


def _scalar(value: Any) -> int | float | str | None:
    """Finite numbers, text and None unchanged; anything else as JSON text."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if value is None or number or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def last_value(split: str, field: str, after: int = 0) -> Callable[[Run], float | None]:
    """A function for the last value of a field in the evaluations of a split, from round `after` to the kept round."""

    def find(run: Run) -> float | None:
        first = after if run.kept_round is None else min(after, run.kept_round)
        values = [getattr(record, field) for record in run.until_kept(split) if record.round >= first]
        return next((value for value in reversed(values) if value is not None), None)

    return find


def _of_summary(field: str) -> Callable[[Run], float | None]:
    return lambda run: getattr(run.summary, field) if run.summary else None


FIGURES: dict[str, Callable[[Run], float | None]] = {
    **{f"validation_{name}": last_value("validation", name) for name in Eval.FIGURES},
    **{f"test_{name}": last_value("test", name, after=1) for name in Eval.FIGURES},
    "distance": lambda run: next((r.distance for r in reversed(run.rounds) if r.distance is not None), None),
    "bytes_up_per_client_round": _of_summary("bytes_up_per_client_round"),
    "bytes_down_per_client_round": _of_summary("bytes_down_per_client_round"),
    "forward_pairs_per_client": _of_summary("forward_pairs_per_client"),
    "privacy_epsilon": lambda run: run.summary.privacy.epsilon if run.summary and run.summary.privacy else None,
    "wall_s": _of_summary("wall_s"),
    "cpu_s": _of_summary("cpu_s"),
    "f1": lambda run: run.allocation.f1,
    "fleet_vram_bytes": lambda run: float(run.allocation.f2_bytes),
    "worst_share": lambda run: run.allocation.worst_share,
}
"""Name of a figure by which trials are compared -> function that reads it from a run."""
