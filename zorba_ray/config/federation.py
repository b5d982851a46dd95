"""The fleet of clients and where it runs."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

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
    """What changes in the fleet before a round; the blocks are then dealt anew."""

    round: int = Field(ge=2)
    """The first round that it holds for."""
    client: int | None = Field(default=None, ge=0)
    """The client it is about; or `kind`."""
    kind: str | None = None
    """A class of `fleet`: it is about all its clients."""
    vram: ByteCount | None = Field(default=None, gt=0)
    """The new budget."""
    present: bool | None = None
    """false: gone from this round on, not asked, and holding no block. true: here from this round on; who has not left
    before is absent from the start."""

    @model_validator(mode="after")
    def _one_of_each(self) -> "FleetChange":
        if (self.client is None) == (self.kind is None):
            raise ValueError(f"a change of round {self.round} names a client or a class (kind), not both or neither")
        if (self.vram is None) == (self.present is None):
            raise ValueError(f"a change of round {self.round} needs either vram or present: true or false")
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
"""Told apart by form, so that a fault is reported for the one that was meant."""


class FederationConfig(StrictModel):
    """Clients, participation, failure policy and the backend that runs them."""

    clients: int = Field(default=8, ge=1, le=10**6)
    """N, number of clients."""
    fleet: Fleet | None = None
    """Classes of clients with counts (they must add up to `clients`) and budgets, or a distribution.
    None: no budgets, every client may hold every block."""
    changes: tuple[FleetChange, ...] = ()
    """Clients that join, leave or get another budget during the run."""
    seeds: Literal["per_client", "shared"] = "per_client"
    """Every client its own directions, or one direction for all (as DeComFL)."""
    weights: Literal["data", "inverse_noise"] = "data"
    """Weight of a client in the update of a block: its share p_n of the examples (`data`), or p_n divided by the number
    of its active blocks (`inverse_noise`); algorithm.md §5."""
    participants: int | float | None = None
    """Clients asked per round: a count ≥ 1, a share in (0, 1), or None for all."""
    backend: Literal["sequential", "ray"] = "sequential"
    """In this process, or on Ray actors; same numbers, bit for bit. The Ray is the one at RAY_ADDRESS, if that is set,
    else a private one on this machine for this run."""
    mode: Literal["pinned", "packed"] = "packed"
    """`pinned`: one client per actor. `packed`: many clients per actor on one replica of θ."""
    workers: int = Field(default=2, ge=1, le=10**6)
    """Actors in packed mode."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of torch in each process. Matrix kernels may round otherwise with another number, so it counts among
    the settings that change results. One thread per worker and more workers is the faster way to use the cores."""
    gpus: Annotated[Literal["auto", "simulated"] | int, BeforeValidator(_gpus)] = "auto"
    """Real GPUs of the federation (a number), `simulated` (logical ones, marked so in all outputs), or `auto`:
    the real ones if there are any, else simulated."""
    gpu_memory: ByteCount = Field(default=80 * 2**30, gt=0)
    """Bytes of one simulated GPU; an actor's fraction is budget / gpu_memory, rounded down to 1e-4, at least 1e-4."""
    deadline_s: float = Field(default=600.0, gt=0)
    """Seconds a round waits for reports; later ones are recorded as late."""
    quorum: float = Field(default=0.5, gt=0, le=1)
    """Share of the asked clients whose reports a round needs; below it the run stops with exit code 5."""
    retries: int = Field(default=3, ge=0)
    """How often a client whose actor died is asked again within a round."""
    snapshot_every: int | None = Field(default=200, ge=1)
    """Rounds between snapshots of what the run moved: a new or restarted replica replays the rounds since the newest
    one. Two are kept in the run directory. None keeps none, and a replica replays the whole ledger."""

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
        return self

    def changed(self, change: FleetChange) -> range:
        """The clients that a change is about."""
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
        here: dict[int, bool] = {}
        for change in sorted(self.changes, key=lambda change: change.round):
            who = f"federation.changes, round {change.round}"
            clients = self.changed(change)
            if not clients or clients[-1] >= self.clients:
                named = f"class {change.kind!r}" if change.client is None else f"client {change.client}"
                raise ValueError(f"{who}: there is no {named}; clients are 0 … {self.clients - 1}, classes as in fleet")
            if change.vram is not None:
                if self.fleet is None:
                    raise ValueError(f"{who}: a new budget (vram) needs federation.fleet, which sets the first ones")
                continue
            for client in clients:
                if here.get(client, not change.present) == change.present:
                    raise ValueError(
                        f"{who}: client {client} cannot {'join' if change.present else 'leave'} twice in a row"
                    )
                here[client] = bool(change.present)
