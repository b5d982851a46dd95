"""compare.json, typed: what a comparison has planned, run and found. The report reads nothing else."""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zorba_ray.errors import RunDirError

STATE_FILE = "compare.json"

Status = Literal["pending", "running", "finished", "diverged", "failed"]


class Record(BaseModel):
    """Part of compare.json; unknown keys are passed over."""

    model_config = ConfigDict(extra="ignore")


class Estimate(Record):
    """A figure over the seeds."""

    values: dict[int, float] = {}
    """Seed -> value, finished runs only."""
    mean: float | None = None
    half: float | None = None
    """Half the 95 % interval of the mean (Student t); None for fewer than two seeds."""

    @property
    def apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.mean is not None and self.half is not None and abs(self.mean) > self.half


class Try(Record):
    """A run that a learning rate was tried in."""

    rate: float
    run: str
    status: Status = "pending"
    rounds: int
    loss: float | None = None
    """Final validation loss."""
    error: str | None = None


class Cell(Record):
    """A compared run."""

    method: str
    seed: int
    run: str
    """Its run directory, relative to the comparison's."""
    status: Status = "pending"
    round: int = 0
    """Last round on record: of a diverged run, the one after which it was no longer finite."""
    error: str | None = None
    weights_sha256: str | None = None


class Contestant(Record):
    """A method with what it was given."""

    method: str
    passes_per_round: int
    """Forward passes of a client; a forward and backward counts as three."""
    budget: int
    """Forward passes that it may make."""
    rounds: int
    left_over: int
    """Passes of the budget that make no whole round."""
    every: int
    central: bool = False
    backward: bool = False
    rates: tuple[float, ...]
    rate: float | None = None
    """The one it competes with; None until it is chosen."""
    at_end: bool = False
    """The chosen rate is the first or last of several: a wider ladder may hold a better one."""
    tries: list[Try] = []
    settings: dict[str, Any] = {}
    """Dotted settings in which it differs from zorba's."""


class Reached(Record):
    """Rounds and passes to a validation loss, at the first evaluation at or below it."""

    target: float
    rounds: dict[int, int | None] = {}
    """Seed -> rounds; None for never."""
    passes: dict[int, int | None] = {}
    """Seed -> forward passes, per participant for a central method."""


class Point(Record):
    """Means over the finished seeds at one evaluation."""

    round: int
    passes: float
    """Of a client; of a central method, per participant of the others."""
    bytes: float | None = None
    """Up and down, of a client that takes part in every round; None where nothing travels."""
    cpu_s: float | None = None
    loss: float
    loss_low: float
    loss_high: float
    accuracy: float | None = None


class Outcome(Record):
    """What a method's runs came to."""

    method: str
    figures: dict[str, Estimate] = {}
    """See results.FIGURES."""
    differences: dict[str, Estimate] = {}
    """Figure -> this method minus the first, seed by seed."""
    reached: list[Reached] = []
    curve: list[Point] = []
    vram_bytes: int | None = None
    """Of the client that holds most."""
    vram_source: str = ""
    over_budget_bytes: int | None = None
    """Beyond the largest budget of zorba's fleet; negative where it fits, None without budgets."""


class Contest(Record):
    """All of compare.json."""

    format: Literal[1] = 1
    name: str
    status: Literal["running", "finished", "interrupted"] = "running"
    command: list[str] = []
    started: str = ""
    wall_s: float = 0.0
    """Over all sessions."""
    sessions: int = 1
    settings: dict[str, Any]
    base: dict[str, Any]
    """zorba's settings, resolved."""
    tuning_seed: int
    participants: int
    """Clients asked in a round."""
    largest_budget_bytes: int | None = None
    """Of zorba's fleet."""
    targets: list[float] = []
    contestants: list[Contestant] = Field(default_factory=list)
    cells: list[Cell] = Field(default_factory=list)
    outcomes: list[Outcome] = Field(default_factory=list)

    def contestant(self, method: str) -> Contestant:
        """The method of that name."""
        return next(one for one in self.contestants if one.method == method)

    def cells_of(self, method: str, status: str | None = None) -> list[Cell]:
        """The compared runs of a method, all or those of one status."""
        return [cell for cell in self.cells if cell.method == method and status in (None, cell.status)]


def read_contest(path: Path) -> Contest:
    """The comparison in a directory.

    Raises:
        RunDirError: missing or damaged.
    """
    file = path / STATE_FILE
    try:
        return Contest.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunDirError(f"{path} is no comparison: {STATE_FILE} is missing") from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise RunDirError(f"{file} is damaged ({str(error).splitlines()[0]})") from error


def finite(value: float | None) -> float | None:
    """None for what JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else value
