"""Settings of the clients, their budgets, and the processes that run them."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from zorba_ray.config.aggregation import Aggregate, default_byzantine, default_spread
from zorba_ray.config.base import ByteCount, StrictModel


class FleetClass(StrictModel):
    """Clients of one kind."""

    name: str = Field(min_length=1)
    """Name in messages and reports."""
    count: int = Field(ge=1, le=10**6)
    """How many there are."""
    vram: ByteCount = Field(gt=0)
    """VRAM budget of each, in bytes or text such as "24 GiB"."""


class FleetDistribution(StrictModel):
    """Budgets drawn per client from the run's seed."""

    distribution: Literal["uniform", "log_uniform"]
    """Uniform in bytes, or in their logarithm."""
    low: ByteCount = Field(gt=0)
    """Smallest budget."""
    high: ByteCount = Field(gt=0)
    """Largest budget."""

    @model_validator(mode="after")
    def _ordered(self) -> "FleetDistribution":
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) must not be below low ({self.low})")
        return self


class FleetChange(StrictModel):
    """A change of the fleet before a round. The blocks are then assigned again."""

    round: int = Field(ge=1)
    """First round with the change; 1: from the start."""
    client: int | None = Field(default=None, ge=0)
    """Id of the client that changes; set this or `kind`."""
    kind: str | None = None
    """Name of a class of `fleet`: all its clients change."""
    vram: ByteCount | None = Field(default=None, gt=0)
    """The new budget; set this or `present`."""
    present: bool | None = None
    """false: the client leaves; from this round on it is not asked and activates no block. true: the client joins. A
    client that joins and has not left before is absent from the start."""

    @model_validator(mode="after")
    def _one_of_each(self) -> "FleetChange":
        if (self.client is None) == (self.kind is None):
            raise ValueError(f"a change of round {self.round} needs either client or kind (a class), and not both")
        if (self.vram is None) == (self.present is None):
            raise ValueError(f"a change of round {self.round} needs either vram or present, and not both")
        return self


def _gpus(value: Any) -> Any:
    value = int(value) if isinstance(value, str) and value.isdecimal() else value
    if value not in ("auto", "simulated") and not (isinstance(value, int) and value >= 1):
        raise ValueError("a number of GPUs ≥ 1, 'auto' or 'simulated'")
    return value


def _fleet_form(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        return "tagged-classes"
    return "tagged-distribution" if isinstance(value, (dict, FleetDistribution)) else None


Fleet = Annotated[
    Annotated[tuple[FleetClass, ...], Tag("tagged-classes")] | Annotated[FleetDistribution, Tag("tagged-distribution")],
    Discriminator(
        _fleet_form,
        custom_error_type="fleet_form",
        custom_error_message="a list of classes {name, count, vram}, or one distribution {distribution, low, high}",
    ),
]
"""A list means classes, a mapping means a distribution. So a fault is reported for the form that was written."""


class FederationConfig(StrictModel):
    """Clients, participation, failure policy and the backend that runs them."""

    clients: int = Field(default=8, ge=1, le=10**6)
    """N, number of clients."""
    fleet: Fleet | None = None
    """Budgets of the clients: classes with counts that add up to `clients`, or a distribution. None: no budgets, so
    every client may activate every block."""
    changes: tuple[FleetChange, ...] = ()
    """Clients that join, leave or get another budget during the run."""
    seeds: Literal["per_client", "shared"] = "per_client"
    """`per_client`: every client draws its own directions. `shared`: all clients use the same ones, as in DeComFL."""
    weights: Literal["data", "inverse_noise"] = "data"
    """Weight of a client in the update of a block: its share p_n of the examples (`data`), or p_n divided by the number
    of its active blocks (`inverse_noise`); algorithm.md §5."""
    aggregate: Aggregate = "mean"
    """How the scalars of the clients that hold a block become its step. `mean`: their weighted mean. `clip_spread`: the
    same, but no scalar counts for more than `spread` times the round's median |ρ|, and a client beyond that in four
    reports in a row is left out by name. `median`, `trimmed_mean`, `krum`: per direction and block; with `seeds:
    shared` they withstand `byzantine` hostile clients."""
    spread: float | None = Field(default_factory=default_spread, ge=1)
    """Of `aggregate: clip_spread`: the bound of |ρ|, as a multiple of the round's median |ρ|."""
    byzantine: int | None = Field(default_factory=default_byzantine, ge=1)
    """f of `median`, `trimmed_mean` and `krum`: how many clients may report anything. A block needs 2f + 1 reports,
    with `krum` 2f + 3: see `allocation.coverage`."""
    participants: int | float | None = None
    """Clients asked per round: a count ≥ 1, a share in (0, 1), or None for all."""
    spares: int = Field(default=0, ge=0, le=10**6)
    """Clients asked per round beyond `participants`, who must be set. The report of a spare client counts only in place
    of one that is missing or refused. On Ray a round ends soon after `participants` reports of any clients."""
    authenticated: bool = False
    """Each report has a tag, an HMAC under a key of its client. A report with another tag is refused, and `zorba-ray
    replay --verify` checks all tags again. Only for commits that hold each client's scalars."""
    backend: Literal["sequential", "ray"] = "sequential"
    """`sequential`: all in this process. `ray`: on Ray actors, with the same results bit for bit. Ray is the cluster at
    RAY_ADDRESS if that is set, else a private Ray on this machine for this run."""
    mode: Literal["pinned", "packed"] = "packed"
    """`pinned`: one client per actor. `packed`: many clients per actor on one replica of θ."""
    workers: int = Field(default=2, ge=1, le=10**6)
    """Actors in packed mode."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of torch in each process. Another number may round differently, so this setting counts as one that
    changes results. To use more cores, more workers with one thread each are faster."""
    gpus: Annotated[Literal["auto", "simulated"] | int, BeforeValidator(_gpus)] = "auto"
    """A number: so many real GPUs. `simulated`: clients compute on the CPU, and GPUs are only counted; all outputs say
    so. `auto`: the real GPUs if there are any, else simulated."""
    gpu_memory: ByteCount = Field(default=80 * 2**30, gt=0)
    """Bytes of one simulated GPU; an actor's fraction is budget / gpu_memory, rounded down to 1e-4, at least 1e-4."""
    deadline_s: float = Field(default=600.0, gt=0)
    """Seconds that a round waits for reports. Reports that come later are recorded as late and not used."""
    quorum: float = Field(default=0.5, gt=0, le=1)
    """Share of the asked clients that must report. With fewer reports the run stops with exit code 5."""
    patience: int = Field(default=5, ge=1)
    """Rounds in a row whose update is too large to be applied. Each is made without the reports that make it so; after
    so many the run ends as diverged (exit code 7), and can go on from there."""
    retries: int = Field(default=3, ge=0)
    """How often a client whose actor died is asked again within a round."""
    snapshot_every: int | None = Field(default=200, ge=1)
    """Rounds between snapshots of the tensors that the run trains. A new or restarted worker loads the newest one and
    replays only the rounds after it. Two are kept in the run directory. None: no snapshots, the whole ledger is
    replayed."""

    @field_validator("participants")
    @classmethod
    def _participants(cls, value: int | float | None) -> int | float | None:
        if value is None or (isinstance(value, int) and value >= 1) or (isinstance(value, float) and 0 < value < 1):
            return value
        if isinstance(value, float) and value == int(value) and value >= 1:
            return int(value)
        raise ValueError("a count of clients ≥ 1 or a share strictly between 0 and 1")

    @model_validator(mode="after")
    def _counts_add_up(self) -> "FederationConfig":
        if isinstance(self.fleet, tuple):
            total = sum(kind.count for kind in self.fleet)
            if total != self.clients:
                raise ValueError(
                    f"the counts in federation.fleet add up to {total}, federation.clients is {self.clients}: "
                    "make them equal, or drop the fleet with federation.fleet=null"
                )
            names = [kind.name for kind in self.fleet]
            if len(set(names)) != len(names):
                raise ValueError(f"class names in federation.fleet must differ, got {names}")
        self._check_changes()
        if isinstance(self.participants, int) and self.participants > self.clients:
            raise ValueError(
                f"federation.participants ({self.participants}) exceeds federation.clients ({self.clients})"
            )
        if self.spares and self.participants is None:
            raise ValueError(
                f"federation.spares={self.spares}: without federation.participants all clients are asked already; set "
                "federation.participants to a count or a share, or federation.spares=0"
            )
        if self.spares and isinstance(self.participants, int) and self.participants + self.spares > self.clients:
            raise ValueError(
                f"federation.participants ({self.participants}) and federation.spares ({self.spares}) together exceed "
                f"federation.clients ({self.clients}); lower one of them"
            )
        return self

    def changed(self, change: FleetChange) -> range:
        """The ids of the clients that change."""
        if change.client is not None:
            return range(change.client, change.client + 1)
        first = 0
        for kind in self.fleet if isinstance(self.fleet, tuple) else ():
            if kind.name == change.kind:
                return range(first, first + kind.count)
            first += kind.count
        return range(0)

    def _check_changes(self) -> None:
        """Raises ValueError: an unknown client or class, a budget without a fleet, or a client that leaves twice."""
        present: dict[int, bool] = {}
        for change in sorted(self.changes, key=lambda change: change.round):
            where = f"federation.changes, round {change.round}"
            clients = self.changed(change)
            if not clients or clients[-1] >= self.clients:
                named = f"class {change.kind!r}" if change.client is None else f"client {change.client}"
                raise ValueError(
                    f"{where}: there is no {named}; clients are 0 … {self.clients - 1}, classes are those of "
                    "federation.fleet"
                )
            if change.vram is not None:
                if self.fleet is None:
                    raise ValueError(f"{where}: a new budget (vram) needs federation.fleet, which sets the first ones")
                continue
            for client in clients:
                if present.get(client, not change.present) == change.present:
                    raise ValueError(
                        f"{where}: client {client} cannot {'join' if change.present else 'leave'} twice in a row"
                    )
                present[client] = bool(change.present)
        absent = {n for c in self.changes if c.round == 1 and c.present is False for n in self.changed(c)}
        if len(absent) == self.clients:
            raise ValueError("federation.changes, round 1: every client is absent; keep one or more")
