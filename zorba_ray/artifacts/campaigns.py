"""sweep.json and compare.json: which runs a sweep or a comparison is made of, and how far each is."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec

from zorba_ray.artifacts.record import Count, Record, Seconds, read_record


class Cell(Record, kw_only=True):
    """One run of many."""

    status: str = "pending"
    """pending, running, finished, stopped (early, by a scheduler), diverged, failed or interrupted."""
    error: str | None = None
    round: Count | None = None
    """Rounds done; None: not known."""
    rounds: Count = 0
    """Asked for; 0 where the settings were refused, so that there is no run."""


class Trial(Cell, kw_only=True):
    """One run of a sweep."""

    trial: Count
    """Its number."""
    run: str
    """Its run directory, relative to the sweep's."""
    name: str
    log: str = ""
    """What it said, relative to the sweep's directory."""
    values: dict[str, Any]
    """Swept key -> value, or its label; None where it is inactive."""
    picks: dict[str, tuple[Any, str | None]] = {}
    """Swept key -> (value, label) as picked: what a resume starts from."""
    figures: dict[str, float | None] = {}
    """What trials are compared by; of the last evaluation while the trial is under way."""
    weights_sha256: str | None = None


class Metric(Record, kw_only=True):
    """A figure that a sweep looks at."""

    name: str
    mode: Literal["min", "max"]


class Sweep(Record, kw_only=True):
    """sweep.json."""

    FILE: ClassVar[str] = "sweep.json"
    WHAT: ClassVar[str] = "sweep"

    name: str
    question: str = ""
    """In one sentence."""
    status: str = "running"
    """running, finished or interrupted; `running` is also what a killed sweep left behind."""
    command: tuple[str, ...] = ()
    started: str | None = None
    wall_s: Seconds | None = None
    """Over all sessions."""
    sessions: Count = 1
    metrics: Annotated[tuple[Metric, ...], msgspec.Meta(min_length=1)]
    """One or two; the first is the one that ranks."""
    space: dict[str, Any]
    """Swept key -> how it varies, as in {"grid": [0, 0.5, 1]}."""
    settings: dict[str, Any] = {}
    """The sweep's own."""
    base: dict[str, Any] = {}
    """The run that is varied, as far as it was set."""
    trials: list[Trial]

    @property
    def every_cell(self) -> list[Trial]:
        """All runs."""
        return self.trials


class ComparisonCell(Cell, kw_only=True):
    """One run of a comparison."""

    method: str
    seed: int
    rate: float
    """Learning rate."""
    tuning: bool = False
    """It judges a rate, and is in no mean."""
    final_loss: float | None = None
    """Of validation; of a reward, its mean with the sign turned."""


class Comparison(Record, kw_only=True):
    """compare.json."""

    FILE: ClassVar[str] = "compare.json"
    WHAT: ClassVar[str] = "comparison"

    name: str
    command: tuple[str, ...] = ()
    asked: dict[str, Any]
    """What is compared: a resume must not change it."""
    passes: Count
    """Forward passes of each client in all."""
    chosen: dict[str, float] = {}
    """Method -> learning rate of its runs."""
    tried: dict[str, dict[str, float | None]] = {}
    """Method -> rate -> final validation loss; None: it did not end."""
    cells: dict[str, ComparisonCell] = {}
    """Run directory -> run."""
    inputs: dict[str, str] = {}
    """Data or weights -> their SHA-256, the same for all runs that share them."""

    @property
    def every_cell(self) -> "list[ComparisonCell]":
        """All runs that began."""
        return list(self.cells.values())

    def is_chosen(self, method: str, rate: str) -> bool:
        """Whether a tried rate, as `tried` spells it, is the one that the method's runs have."""
        return method in self.chosen and f"{self.chosen[method]:g}" == rate

    def end_of_ladder(self, method: str) -> str | None:
        """'lowest' or 'highest' where the chosen rate is that of those tried; None elsewhere, or with one tried."""
        ladder = sorted(self.tried.get(method, {}), key=float)
        if len(ladder) < 2:
            return None
        ends = (("lowest", ladder[0]), ("highest", ladder[-1]))
        return next((end for end, rate in ends if self.is_chosen(method, rate)), None)


State = TypeVar("State", Sweep, Comparison)


def read_campaign(path: Path, kind: type[State]) -> State:
    """The state of a sweep's or comparison's directory.

    Raises:
        RunDirError: missing or damaged; names file and key.
    """
    return read_record(path / kind.FILE, kind, kind.WHAT)
