"""A typed reader of one sweep directory, finished, under way or killed. Unknown keys are passed over."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from zorba_ray.errors import RunDirError
from zorba_ray.report.load import RunRecord, load_run, read_json
from zorba_ray.report.records import Record, parse

SWEEP_FILE = "sweep.json"


def _scalar(value: Any) -> Any:
    """Numbers, text and None as they are; anything else as JSON text."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if value is None or number or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Value = Annotated[int | float | str | None, BeforeValidator(_scalar)]
"""A swept value; a labelled one (a fleet) is its label."""

Figure = Annotated[float | None, BeforeValidator(_finite)]


class Metric(Record):
    """What the sweep looks at."""

    name: str
    mode: Literal["min", "max"]


class TrialEntry(Record):
    """A trial as sweep.json knows it."""

    trial: int
    name: str
    run: str
    """Its run directory, relative to the sweep's."""
    values: dict[str, Value]
    """Swept key -> value."""
    status: str
    """pending, running, finished, stopped (early, by the scheduler) or failed."""
    error: str | None = None
    log: str | None = None
    round: int | None = None
    """Last round on record."""
    rounds: int | None = None
    figures: dict[str, Figure] = Field(default_factory=dict)
    weights_sha256: str | None = None


class _SweepFile(Record):
    format: Literal[1]
    name: str
    question: str = ""
    status: str
    command: tuple[str, ...] = ()
    started: str | None = None
    wall_s: float | None = None
    metrics: tuple[Metric, ...] = Field(min_length=1)
    space: dict[str, Any]
    settings: dict[str, Any] = Field(default_factory=dict)
    base: dict[str, Any] = Field(default_factory=dict)
    trials: tuple[TrialEntry, ...]


@dataclass(frozen=True)
class TrialRecord:
    """A trial with what its run directory holds."""

    entry: TrialEntry
    path: Path
    run: RunRecord | None
    """None where the directory is missing or cannot be read."""
    fault: str
    """Why there is no `run`; empty if there is one, or if the trial has not begun."""

    @property
    def finished(self) -> bool:
        """Ran to its last round."""
        return self.entry.status == "finished"

    @property
    def round(self) -> int:
        """Last round on record."""
        return self.entry.round if self.entry.round is not None else self.run.rounds_done if self.run else 0

    def figure(self, name: str) -> float | None:
        """A figure of sweep.json (`validation_loss`, `fleet_vram_bytes`, …), else the same from the run's files; None
        where it is unknown or not finite."""
        found = self.entry.figures.get(name)
        if found is None and self.run is not None and name in _FROM_RUN:
            found = _finite(_FROM_RUN[name](self.run))
        return found


@dataclass(frozen=True)
class SweepRecord:
    """Everything the report knows of one sweep."""

    path: Path
    name: str
    question: str
    """One sentence; may be empty."""
    status: str
    """running, finished or interrupted; `running` is also what a killed sweep left behind."""
    command: tuple[str, ...]
    started: str | None
    wall_s: float | None
    metrics: tuple[Metric, ...]
    """One or two; the first is the one that ranks."""
    space: dict[str, Any]
    """Swept key -> how it was sampled, as in {"grid": [0, 0.5, 1]}."""
    settings: dict[str, Any]
    """The sweep's own settings."""
    base: dict[str, Any]
    """Settings of the runs that no key of the space changes."""
    trials: tuple[TrialRecord, ...]

    def with_status(self, *names: str) -> tuple[TrialRecord, ...]:
        """Trials of these statuses."""
        return tuple(trial for trial in self.trials if trial.entry.status in names)


def is_sweep(path: str | Path) -> bool:
    """Whether a directory is a sweep's."""
    return (Path(path) / SWEEP_FILE).is_file()


def load_sweep(path: str | Path) -> SweepRecord:
    """Reads a sweep directory with the run directories of its trials; a run that is missing or damaged is a fault of
    its trial, not an error.

    Raises:
        RunDirError: no such directory; sweep.json is missing or damaged, or names a run outside the directory.
    """
    path = Path(path)
    if not path.is_dir():
        raise RunDirError(f"{path}: no such sweep directory")
    where = path / SWEEP_FILE
    file = parse(_SweepFile, read_json(where, of="sweep"), str(where))
    trials = []
    for entry in file.trials:
        relative = PurePosixPath(entry.run)
        if relative.is_absolute() or ".." in relative.parts:
            raise RunDirError(f"{where}: trial {entry.trial}: run {entry.run!r} is outside the sweep's directory")
        trials.append(_trial(entry, path / relative))
    fields = {name: getattr(file, name) for name in _SweepFile.model_fields if name not in ("format", "trials")}
    return SweepRecord(path=path, trials=tuple(trials), **fields)


def _trial(entry: TrialEntry, path: Path) -> TrialRecord:
    try:
        return TrialRecord(entry, path, load_run(path), "")
    except RunDirError as error:
        # Before its run directory is whole, a trial has nothing to show and nothing is wrong.
        begun = entry.status not in ("pending", "running")
        return TrialRecord(entry, path, None, str(error) if begun else "")


def _last(split: str, field: str) -> Callable[[RunRecord], float | None]:
    def find(run: RunRecord) -> float | None:
        values = [getattr(record, field) for record in run.split(split)]
        return next((value for value in reversed(values) if value is not None), None)

    return find


_FROM_RUN: dict[str, Callable[[RunRecord], float | None]] = {
    "validation_loss": _last("validation", "loss"),
    "validation_accuracy": _last("validation", "accuracy"),
    "test_loss": _last("test", "loss"),
    "test_accuracy": _last("test", "accuracy"),
    "fleet_vram_bytes": lambda run: float(run.allocation.f2_bytes),
    "worst_share": lambda run: run.allocation.worst_share,
    "f1": lambda run: run.allocation.f1,
    "distance": lambda run: next((r.distance for r in reversed(run.rounds) if r.distance is not None), None),
    "wall_s": lambda run: run.summary.wall_s if run.summary else None,
    "cpu_s": lambda run: run.summary.cpu_s if run.summary else None,
    "bytes_up_per_client_round": lambda run: run.summary.bytes_up_per_client_round if run.summary else None,
    "bytes_down_per_client_round": lambda run: run.summary.bytes_down_per_client_round if run.summary else None,
    "forward_pairs_per_client": lambda run: run.summary.forward_pairs_per_client if run.summary else None,
}
