"""What allocation.json holds."""

from typing import Annotated

import msgspec

from zorba_ray.artifacts.record import Count, Record, Seconds


class Client(Record, kw_only=True):
    """One client."""

    client: Count
    kind: str = msgspec.field(name="class")
    examples: Count
    budget_bytes: Count | None
    """VRAM budget; None is no budget."""
    bytes: Count
    """VRAM of its active set, of the allocation's `bytes_source`."""
    blocks: tuple[int, ...]
    frozen: str | None = None
    master: str | None = None

    @property
    def share(self) -> float | None:
        """bytes / budget_bytes; None without a budget."""
        return self.bytes / self.budget_bytes if self.budget_bytes else None

    @property
    def spare_bytes(self) -> int | None:
        """What the budget leaves; negative where it is exceeded, None without a budget."""
        return None if self.budget_bytes is None else self.budget_bytes - self.bytes


class Step(Record, kw_only=True):
    """One solve of the ε-constraint program."""

    name: str
    objective: str
    constraint: str = ""
    value: float | None
    bound: float | None
    gap: float | None
    seconds: Seconds
    status: str


class Deal(Record, kw_only=True):
    """Who held which blocks from a round on."""

    round: Count
    reason: str
    f1: float | None
    f2_bytes: Count
    gap: float | None
    clients_changed: Count
    active: tuple[str, ...]
    """Per client one mark per block, 1 for active."""


class Probe(Record, kw_only=True):
    """What a probe of the clients' gradients found, by block."""

    round: Count
    energy: tuple[float, ...]
    dissimilarity: tuple[float, ...]
    dissimilarity_error: tuple[float, ...]
    noise: tuple[float, ...]
    weights: tuple[float, ...]
    pairs: Count
    forward_pairs: Count
    bytes_up: Count
    bytes_down: Count


class Allocation(Record, kw_only=True):
    """allocation.json."""

    clients: tuple[Client, ...]
    blocks: Annotated[int, msgspec.Meta(ge=1)]
    epsilon: float
    f1: float | None
    """None where some block is active nowhere."""
    f2_bytes: Count
    bytes_all_active: Count | None = None
    """VRAM of one client with every block active; None where the file does not say."""
    worst_share: float | None
    gap: float | None
    solver: str
    steps: tuple[Step, ...]
    bytes_source: str
    accelerator: str
    deals: tuple[Deal, ...] = ()
    """In order of their rounds; none in files that were not written by a run."""
    probe: Probe | None = None
    """The last one."""
