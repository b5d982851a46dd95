"""The records of sweep.json and compare.json: the runs of a sweep or a comparison, and the state of each."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec

from zorba_ray.artifacts.record import Count, Record, Seconds, read_record


class Cell(Record, kw_only=True):
    """One run of a sweep or comparison."""

    status: str = "pending"
    """pending, running, finished, stopped (early, by a scheduler), diverged, failed or interrupted."""
    error: str | None = None
    round: Count | None = None
    """Rounds done; None: not known."""
    rounds: Count = 0
    """Rounds by the settings; 0 if the settings were refused, so that there is no run."""


class Trial(Cell, kw_only=True):
    """One run of a sweep."""

    trial: Count
    """Its number."""
    run: str
    """Its run directory, relative to the sweep's."""
    name: str
    log: str = ""
    """Its log file, relative to the sweep's directory."""
    values: dict[str, Any]
    """Swept key -> value, or its label; None if the key is not used in this trial."""
    picks: dict[str, tuple[Any, str | None]] = {}
    """Swept key -> (value, label) as picked; a resume starts from them."""
    figures: dict[str, float | None] = {}
    """Figures by which trials are compared. While the trial runs they are those of its last evaluation."""
    weights_sha256: str | None = None


class Metric(Record, kw_only=True):
    """A figure that a sweep minimises or maximises."""

    name: str
    mode: Literal["min", "max"]


class Sweep(Record, kw_only=True):
    """sweep.json."""

    FILE: ClassVar[str] = "sweep.json"
    WHAT: ClassVar[str] = "sweep"

    name: str
    question: str = ""
    """What the sweep should answer, in one sentence."""
    status: str = "running"
    """running, finished or interrupted. After a kill it is still `running`."""
    command: tuple[str, ...] = ()
    started: str | None = None
    wall_s: Seconds | None = None
    """Wall seconds of all sessions together."""
    sessions: Count = 1
    metrics: Annotated[tuple[Metric, ...], msgspec.Meta(min_length=1)]
    """One or two; the first ranks the trials."""
    space: dict[str, Any]
    """Swept key -> how it varies, as in {"grid": [0, 0.5, 1]}."""
    settings: dict[str, Any] = {}
    """Settings of the sweep itself."""
    base: dict[str, Any] = {}
    """Settings of the run that is varied, those that the user set."""
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
    """True: the run only serves to choose a rate, and is not in any mean."""
    final_loss: float | None = None
    """Of validation; of a reward, its mean with the sign turned."""


class MethodPlacement(Record, kw_only=True):
    """One way in which a client of a method can keep its step, and what that takes."""

    name: str
    """resident, checkpointed or streamed; of a method that allocates, where and how its frozen blocks are."""
    format: str = "compute"
    """Of frozen matrices, as in `memory.frozen_format`."""
    bytes: Count
    """At the peak of a step."""
    seconds: Seconds
    """Modelled time of a step, P = K = 1."""
    blocks: Count | None = None
    """Active blocks, of a method that allocates."""

    @property
    def text(self) -> str:
        """As in 'checkpointed, nf4 base'."""
        packed = self.format != "compute" and self.blocks is None
        return f"{self.name}, {self.format} base" if packed else self.name


class MachineFit(Record, kw_only=True):
    """Whether the machines of a class can take part in a method, and how."""

    kind: str = msgspec.field(name="class")
    clients: tuple[Count, ...]
    budget_bytes: Count
    placement: MethodPlacement
    """The quickest one that the budget holds; if there is none, the smallest."""

    @property
    def missing_bytes(self) -> int:
        """Bytes by which the budget is too small; 0 if the machines can take part."""
        return max(0, self.placement.bytes - self.budget_bytes)


class MethodFit(Record, kw_only=True):
    """The machines of the fleet with one method."""

    machines: tuple[MachineFit, ...]
    """By class, in the order of federation.fleet."""
    placements: tuple[MethodPlacement, ...] = ()
    """All that were looked at; empty for a method that allocates."""
    source: str = "counted"

    @property
    def format(self) -> str:
        """Of frozen matrices on all machines: θ depends on it."""
        return self.machines[0].placement.format

    @property
    def left_out(self) -> tuple[int, ...]:
        """The clients whose machine is too small."""
        return tuple(client for machine in self.machines if machine.missing_bytes for client in machine.clients)

    @property
    def clients(self) -> int:
        """Clients of the fleet."""
        return sum(len(machine.clients) for machine in self.machines)


class Comparison(Record, kw_only=True):
    """compare.json."""

    FILE: ClassVar[str] = "compare.json"
    WHAT: ClassVar[str] = "comparison"

    name: str
    command: tuple[str, ...] = ()
    asked: dict[str, Any]
    """What is compared. A resume must not change it."""
    passes: Count
    """Forward passes of each client, over the whole run."""
    chosen: dict[str, float] = {}
    """Method -> learning rate of its runs."""
    tried: dict[str, dict[str, float | None]] = {}
    """Method -> rate -> final validation loss; None: the run did not end."""
    cells: dict[str, ComparisonCell] = {}
    """Run directory -> run."""
    fits: dict[str, MethodFit] = {}
    """Method -> who can take part; empty without federation.fleet, or before it is known."""
    inputs: dict[str, str] = {}
    """Name of data or weights -> SHA-256; runs that share them have the same."""

    @property
    def every_cell(self) -> "list[ComparisonCell]":
        """All runs that began."""
        return list(self.cells.values())

    def is_chosen(self, method: str, rate: str) -> bool:
        """Whether a tried rate, written as in `tried`, is the chosen rate of the method."""
        return method in self.chosen and f"{self.chosen[method]:g}" == rate

    def end_of_ladder(self, method: str) -> str | None:
        """'lowest' or 'highest' if the chosen rate is the lowest or highest of the tried ones; else None. Also None if
        only one rate was tried."""
        ladder = sorted(self.tried.get(method, {}), key=float)
        if len(ladder) < 2:
            return None
        ends = (("lowest", ladder[0]), ("highest", ladder[-1]))
        return next((end for end, rate in ends if self.is_chosen(method, rate)), None)


State = TypeVar("State", Sweep, Comparison)


def read_campaign(path: Path, kind: type[State]) -> State:
    """The record in the directory of a sweep or comparison.

    Raises:
        RunDirError: missing or damaged; names file and key.
    """
    return read_record(path / kind.FILE, kind, kind.WHAT)
