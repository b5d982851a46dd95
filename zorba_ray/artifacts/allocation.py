"""The record of allocation.json: which client activates which blocks, the bytes, and what was proven."""

from typing import Annotated

import msgspec

from zorba_ray.active_sets import ActiveSets
from zorba_ray.artifacts.record import Count, Record, Seconds


class AssignedClient(Record, kw_only=True):
    """One client with its blocks in the last assignment."""

    client: Count
    kind: str = msgspec.field(name="class")
    """Its class in federation.fleet."""
    examples: Count
    """|D_n|."""
    budget_bytes: Count | None
    """VRAM budget; None: no budget."""
    bytes: Count
    """VRAM of its active set, by the allocation's `bytes_source`; 0 while it is absent."""
    blocks: tuple[int, ...]
    present: bool = True
    frozen: str | None = None
    """Where frozen blocks are kept: device or host."""
    master: str | None = None
    """Where the fp32 weights of active blocks are kept: device or host."""
    format: str = "compute"
    """How the matrices of frozen blocks are kept: compute, int8 or nf4."""

    @property
    def share(self) -> float | None:
        """bytes / budget_bytes; None without a budget."""
        return self.bytes / self.budget_bytes if self.budget_bytes else None

    @property
    def spare_bytes(self) -> int | None:
        """Bytes of the budget that are not used; negative if it is exceeded, None without a budget."""
        return None if self.budget_bytes is None else self.budget_bytes - self.bytes


class PlacementBytes(Record, kw_only=True):
    """Bytes of the clients with one placement."""

    frozen: str
    master: str
    parts: dict[str, int]
    """Bytes of a client without active blocks, by part."""
    active_extra_bytes: tuple[int, ...]
    """Extra bytes of each block when it is active."""
    format: str = "compute"

    def holds(self, client: AssignedClient) -> bool:
        """Whether a client's blocks are kept so."""
        return (self.frozen, self.master, self.format) == (client.frozen, client.master, client.format)


class SolverStep(Record, kw_only=True):
    """One minimisation of the lexicographic algorithm (`zorba_ray.allocation.StepResult`); None: not finite."""

    name: str
    objective: str
    constraint: str = ""
    value: float | None
    bound: float | None
    gap: float | None
    seconds: Seconds
    status: str


class ProvenObjective(Record, kw_only=True):
    """Value and bounds of one objective at the allocation (`zorba_ray.allocation.front.Proven`); None: not finite."""

    objective: str
    value: float | None
    bound: float | None
    gap: float | None
    best: float | None


class ExactVariance(Record, kw_only=True):
    """The exact variance of one round's update, with each of the two weightings of clients. f1 is a surrogate of it."""

    data: float
    inverse_noise: float
    all_active: dict[str, float]
    energies: str
    """Source of the gradient energies of the blocks: `uniform`, or `measured` by a probe."""


class BlockProbe(Record, kw_only=True):
    """The estimates of a block probe before a round, and its cost. Lists are by block (`zo.probe`)."""

    round: Count
    energy: tuple[float, ...]
    dissimilarity: tuple[float, ...]
    dissimilarity_error: tuple[float, ...]
    noise: tuple[float, ...]
    weights: tuple[float, ...]
    """ω_b, computed from the estimates."""
    pairs: Count
    """Forward pairs per client, block and batch."""
    forward_pairs: Count
    """Forward pairs of all clients together. A frozen prefix is shared, so a pair costs less than two forward
    passes."""
    clients: Count = 0
    """Number of clients whose answers were used."""
    bytes_up: Count
    """Bytes of all reports' frames."""
    bytes_down: Count
    """Bytes of the plan's frame, times the asked clients."""


class Assignment(Record, kw_only=True):
    """Which client holds which blocks from a round on, until the next assignment."""

    round: Count
    reason: str
    """start, provisional (until a probe replaces it), probe, rotation, fleet changed, or ledger."""
    f1: float | None
    f2_bytes: Count
    gap: float | None
    solver: str = ""
    clients_changed: Count
    """Number of clients that hold other blocks than before."""
    active: ActiveSets
    """In JSON: for each client a text of 0 and 1."""


class AllocationRecord(Record, kw_only=True):
    """allocation.json. All fields except `assignments` and `probes` describe the last assignment."""

    clients: tuple[AssignedClient, ...]
    blocks: Annotated[int, msgspec.Meta(ge=1)]
    block_parameters: tuple[int, ...] = ()
    block_parameters_in_scope: tuple[int, ...] = ()
    placements: tuple[PlacementBytes, ...] = ()
    memory_parts: dict[str, int] = {}
    """Bytes of a client without a budget and without active blocks, by part."""
    active_extra_bytes: tuple[int, ...] = ()
    epsilon: float
    f1: float | None
    """None if a block is active on no client."""
    f2_bytes: Count
    worst_share: float | None
    gap: float | None
    """None if nothing is proven."""
    solver: str
    steps: tuple[SolverStep, ...]
    vram_objective: str = "total_bytes"
    weights: str = "data"
    objectives: tuple[ProvenObjective, ...] = ()
    exact_variance: ExactVariance | None = None
    bytes_all_active: Count | None = None
    """VRAM of one client with all blocks active; None in files without it."""
    bytes_source: str
    """How the bytes were found: modelled, counted or measured."""
    accelerator: str
    partition_sha256: str = ""
    probe: BlockProbe | None = None
    """The probe from which ω was computed, if there was one."""
    probes: tuple[BlockProbe, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    """In order of their rounds; empty in files of `zorba-ray allocate`."""

    @property
    def present(self) -> tuple[AssignedClient, ...]:
        """The clients that take part under the last assignment."""
        return tuple(client for client in self.clients if client.present)

    def bytes_all_active_of(self, client: AssignedClient) -> int | None:
        """VRAM of a client if all blocks were active, with the same placement, batch and scope; None if not known."""
        for where in self.placements:
            if where.holds(client):
                return sum(where.parts.values()) + sum(where.active_extra_bytes)
        return None if self.placements else self.bytes_all_active  # older files have one placement for all clients

    @property
    def fleet_bytes_all_active(self) -> int | None:
        """Sum of `bytes_all_active_of` over all clients that take part; None if one is not known."""
        all_active = [self.bytes_all_active_of(client) for client in self.present]
        known = [bytes for bytes in all_active if bytes is not None]
        return sum(known) if known and len(known) == len(all_active) else None
