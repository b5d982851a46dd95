"""sweep.json: the whole state of a sweep, rewritten at every event; what reports read and a resume starts from."""

import json
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zorba_ray.artifacts import RunDir, read_tree, write_json
from zorba_ray.config import SweepConfig
from zorba_ray.config.sweep import MAY_CHANGE
from zorba_ray.errors import RunDirError
from zorba_ray.sweep.plan import TrialPlan

Status = Literal["pending", "running", "finished", "stopped", "failed"]

FIGURES = {
    "validation_loss": "final_loss",
    "validation_accuracy": "final_accuracy",
    "test_loss": "test_loss",
    "test_accuracy": "test_accuracy",
    "bytes_up_per_client_round": "bytes_up_per_client_round",
    "bytes_down_per_client_round": "bytes_down_per_client_round",
    "forward_pairs_per_client": "forward_pairs_per_client",
    "distance": "distance",
    "wall_s": "wall_s",
    "cpu_s": "cpu_s",
}
"""Figure of a trial -> its name in summary.json."""

_WRITE_EVERY_S = 1.0


class TrialState(BaseModel):
    """One trial."""

    model_config = ConfigDict(extra="forbid")

    trial: int
    name: str
    run: str
    """Its run directory, relative to the sweep's."""
    log: str
    values: dict[str, Any]
    picks: dict[str, tuple[Any, str | None]]
    status: Status = "pending"
    """`stopped`: ended early by the scheduler."""
    error: str | None = None
    round: int = 0
    rounds: int
    figures: dict[str, float | None] = {}
    """See `FIGURES`, and f1, fleet_vram_bytes, worst_share; of the last evaluation while a trial is under way."""
    curve: list[dict[str, float | None]] = []
    """What the trial reported at its evaluations: round, validation_loss, validation_accuracy."""
    weights_sha256: str | None = None


class SweepState(BaseModel):
    """sweep.json."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    name: str
    question: str
    status: Literal["running", "finished", "interrupted"] = "running"
    command: list[str]
    started: str
    wall_s: float = 0.0
    """Over all sessions."""
    sessions: int = 1
    metrics: list[dict[str, str]]
    space: dict[str, Any]
    settings: dict[str, Any]
    base: dict[str, Any]
    """The run that is varied, as far as it was set."""
    trials: list[TrialState] = Field(default_factory=list)


class SweepDir:
    """A sweep's directory and its state."""

    def __init__(self, path: Path, state: SweepState) -> None:
        self.path = path
        self.state = state
        self._began = time.monotonic() - state.wall_s
        self._written = 0.0
        self.broken: OSError | None = None
        """Why sweep.json could not be written."""

    @classmethod
    def create(cls, path: Path, sweep: SweepConfig, base: dict[str, Any], command: list[str]) -> "SweepDir":
        """A new sweep.

        Raises:
            RunDirError: the directory exists and is not empty.
        """
        require_free(path)
        (path / "trials").mkdir(parents=True, exist_ok=True)
        (path / "logs").mkdir(exist_ok=True)
        settings = sweep.resolved()
        state = SweepState(
            name=sweep.name,
            question=sweep.question,
            command=command,
            started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            metrics=[metric.model_dump() for metric in sweep.metric],
            space=settings["space"],
            settings=settings,
            base=base,
        )
        return cls(path, state)

    @classmethod
    def reopen(cls, path: Path, sweep: SweepConfig, base: dict[str, Any]) -> "SweepDir":
        """The directory of a sweep that goes on with the same space.

        Raises:
            RunDirError: no sweep there, or its space or run was another (the differences are listed).
        """
        state = read_state(path)
        changes = _changes(state.settings, sweep.resolved()) + _changes(state.base, base, "run.")
        if changes:
            raise RunDirError(
                f"resume of {path}: the sweep is another than the one that was started (old -> new):\n  "
                + "\n  ".join(changes)
                + "\nresume with the old values, or start a new sweep in another directory"
            )
        state.sessions += 1
        state.settings = sweep.resolved()
        return cls(path, state)

    def add(self, plan: TrialPlan) -> TrialState:
        """A trial is known from now on."""
        trial = TrialState(
            trial=plan.number,
            name=plan.name,
            run=f"trials/{plan.name}",
            log=f"logs/{plan.name}.log",
            values=plan.values,
            picks=plan.picks,
            rounds=plan.config.rounds,
        )
        self.state.trials.append(trial)
        return trial

    def take_stock(self) -> None:
        """Brings every trial in line with its run directory: what finished is finished, whatever was written here."""
        for trial in self.state.trials:
            if not trial.rounds:
                continue  # a proposal that was refused: there is no run
            finished = finished_run(self.path / trial.run)
            if finished is not None:
                trial.status, trial.error = "finished", None
                trial.figures, trial.weights_sha256 = finished
                trial.round = trial.rounds
            elif trial.status in ("running", "failed", "finished"):
                trial.status = "pending"

    def write(self, force: bool = True) -> None:
        """Writes sweep.json; without `force` at most once per second."""
        now = time.monotonic()
        if force or now - self._written >= _WRITE_EVERY_S:
            self.state.wall_s = now - self._began
            self._written = now
            try:
                write_json(self.path / "sweep.json", self.state.model_dump(mode="json"))
            except OSError as error:
                self.broken = error  # inside Tune's callbacks it would be lost; the sweep stops and says so


def require_free(path: Path) -> None:
    """Whether a new sweep may stand at `path`: nothing there, or what a sweep left that never came to its first trial.

    Raises:
        RunDirError: it is taken.
    """
    if not path.exists():
        return
    if path.is_dir() and not (path / "sweep.json").exists():
        names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        unstarted = not (path / "trials").exists() or not any((path / "trials").iterdir())
        if names <= {"trials", "logs", "tune"} and unstarted:
            return
    raise RunDirError(f"sweep directory {path} exists: go on with --resume, or name another with --sweep-dir DIR")


def read_state(path: Path) -> SweepState:
    """The state of a sweep's directory.

    Raises:
        RunDirError: missing or damaged.
    """
    file = path / "sweep.json"
    try:
        return SweepState.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunDirError(f"{path} is no sweep directory: sweep.json is missing") from error
    except (OSError, ValidationError) as error:
        raise RunDirError(f"{file} is damaged ({str(error).splitlines()[0]})") from error


def finished_run(path: Path) -> tuple[dict[str, float | None], str] | None:
    """Figures and digest of a run directory whose run is finished, else None."""
    run = RunDir(path)
    summary = run.finished()
    if summary is None:
        return None
    return figures_of(summary.tree(), read_tree(run.allocation)), summary.weights_sha256


def figures_of(summary: dict[str, Any], allocation: dict[str, Any]) -> dict[str, float | None]:
    """The figures by which trials are compared."""
    found = {name: summary.get(key) for name, key in FIGURES.items()}
    return {
        **found,
        "f1": allocation["f1"],
        "fleet_vram_bytes": allocation["f2_bytes"],
        "worst_share": allocation["worst_share"],
    }


def _changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    left, right = _flat(old), _flat(new)
    keys = sorted(key for key in left.keys() | right.keys() if key.split(".")[0] not in MAY_CHANGE or prefix)
    return [
        f"{prefix}{key}: {left.get(key, 'not set')!r} -> {right.get(key, 'not set')!r}"
        for key in keys
        if left.get(key, "not set") != right.get(key, "not set")
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in json.loads(json.dumps(tree)).items():
        if isinstance(value, dict) and value:
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found
