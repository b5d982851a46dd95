"""allocation.json: who activates which blocks, what that costs, and what was proven."""

from typing import Annotated

import msgspec

from zorba_ray.active_sets import ActiveSets
from zorba_ray.artifacts.record import Count, Record, Seconds


class AssignedClient(Record, kw_only=True):
    """One client under the last assignment."""

    client: Count
    kind: str = msgspec.field(name="class")
    """Its class in federation.fleet."""
    examples: Count
    """|D_n|."""
    budget_bytes: Count | None
    """VRAM budget; None: no budget."""
    bytes: Count
    """VRAM of its active set, of the allocation's `bytes_source`; 0 while it is absent."""
    blocks: tuple[int, ...]
    present: bool = True
    frozen: str | None = None
    """Where frozen blocks live: device or host. `master`: so for the fp32 weights of active ones."""
    master: str | None = None

    @property
    def share(self) -> float | None:
        """bytes / budget_bytes; None without a budget."""
        return self.bytes / self.budget_bytes if self.budget_bytes else None

    @property
    def spare_bytes(self) -> int | None:
        """What the budget leaves; negative where it is exceeded, None without a budget."""
        return None if self.budget_bytes is None else self.budget_bytes - self.bytes


class PlacementBytes(Record, kw_only=True):
    """Bytes of the clients whose blocks live in one way."""

    frozen: str
    master: str
    parts: dict[str, int]
    """Of a client with nothing active, by part."""
    active_extra_bytes: tuple[int, ...]
    """By block: what it costs more when it is active."""


class SolverStep(Record, kw_only=True):
    """One minimisation of the lexicographic program (`zorba_ray.allocation.StepResult`); None: no finite number."""

    name: str
    objective: str
    constraint: str = ""
    value: float | None
    bound: float | None
    gap: float | None
    seconds: Seconds
    status: str


class ProvenObjective(Record, kw_only=True):
    """What is known of one objective at the allocation; None: no finite number."""

    objective: str
    value: float | None
    bound: float | None
    gap: float | None
    best: float | None


class ExactVariance(Record, kw_only=True):
    """The exact variance of one round's update that f1 stands for, under each weighting of the clients."""

    data: float
    inverse_noise: float
    all_active: dict[str, float]
    energies: str
    """Of the gradient in each block: `uniform`, or `measured` by a probe."""


class BlockProbe(Record, kw_only=True):
    """What the clients said of the blocks before a round, and what asking cost. Lists are by block (`zo.probe`)."""

    round: Count
    energy: tuple[float, ...]
    dissimilarity: tuple[float, ...]
    dissimilarity_error: tuple[float, ...]
    noise: tuple[float, ...]
    weights: tuple[float, ...]
    """ω that follows from them."""
    pairs: Count
    """Forward pairs per client, block and batch."""
    forward_pairs: Count
    """Forward pairs of all clients together. Frozen prefixes are shared, so each costs less than two forwards."""
    clients: Count = 0
    """Whose answers were used."""
    bytes_up: Count
    """All reports' frames."""
    bytes_down: Count
    """The plan's frame, to each client asked."""


class Assignment(Record, kw_only=True):
    """Who holds which blocks from a round on, until the next assignment."""

    round: Count
    reason: str
    """start, provisional (until a probe replaces it), probe, rotation, fleet changed, or ledger."""
    f1: float | None
    f2_bytes: Count
    gap: float | None
    solver: str = ""
    clients_changed: Count
    """Clients that hold other blocks than before."""
    active: ActiveSets
    """In JSON one text of 0 and 1 per client."""


class AllocationRecord(Record, kw_only=True):
    """allocation.json. What is not in `assignments` and `probes` describes the last assignment."""

    clients: tuple[AssignedClient, ...]
    blocks: Annotated[int, msgspec.Meta(ge=1)]
    block_parameters: tuple[int, ...] = ()
    block_parameters_in_scope: tuple[int, ...] = ()
    placements: tuple[PlacementBytes, ...] = ()
    memory_parts: dict[str, int] = {}
    """Bytes of a client without a budget and with nothing active, by part."""
    active_extra_bytes: tuple[int, ...] = ()
    epsilon: float
    f1: float | None
    """None where some block is active nowhere."""
    f2_bytes: Count
    worst_share: float | None
    gap: float | None
    """None where nothing is proven."""
    solver: str
    steps: tuple[SolverStep, ...]
    vram_objective: str = "total_bytes"
    weights: str = "data"
    objectives: tuple[ProvenObjective, ...] = ()
    exact_variance: ExactVariance | None = None
    bytes_all_active: Count | None = None
    """VRAM of one client with every block active; None where the file does not say."""
    bytes_source: str
    """Where the bytes come from: modelled, counted or measured."""
    accelerator: str
    partition_sha256: str = ""
    probe: BlockProbe | None = None
    """What ω rests on, if a probe was made."""
    probes: tuple[BlockProbe, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    """In order of their rounds; none in files that were not written by a run."""

    @property
    def present(self) -> tuple[AssignedClient, ...]:
        """The clients that take part under the last assignment."""
        return tuple(client for client in self.clients if client.present)

    def bytes_all_active_of(self, client: AssignedClient) -> int | None:
        """VRAM of a client if it activated every block where its blocks live now: same placement, batch and scope.
        None where the file does not say."""
        for where in self.placements:
            if (where.frozen, where.master) == (client.frozen, client.master):
                return sum(where.parts.values()) + sum(where.active_extra_bytes)
        return None if self.placements else self.bytes_all_active  # older files: one placement for all

    @property
    def fleet_bytes_all_active(self) -> int | None:
        """`bytes_all_active_of` all clients that take part; None where one is not on record."""
        whole = [self.bytes_all_active_of(client) for client in self.present]
        known = [bytes for bytes in whole if bytes is not None]
        return sum(known) if known and len(known) == len(whole) else None
