"""Bytes by part: what a client holds at one moment, for any set of active blocks, and against its budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zorba_ray.errors import BudgetExceeded
from zorba_ray.units import format_bytes

Source = Literal["modelled", "counted", "measured"]
"""From the formula; from every live tensor of a run in which nothing is allocated; from a GPU's allocator."""

PARTS = (
    "stem", "frozen", "active", "scratch", "stream buffers", "activations", "logits", "gradients", "optimizer state",
)  # fmt: skip
"""What a client's accelerator holds. `active`: what is trained or perturbed (adapters of LoRA too). `scratch`: what a
perturbation is made in. The CUDA context is beside all of this."""


@dataclass(frozen=True)
class Footprint:
    """What a client holds at its peak."""

    parts: dict[str, int]
    """Part -> bytes at the moment of the largest sum."""
    source: Source

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class ClientMemory:
    """Bytes for any active set A: base + Σ_{b ∈ A} active_extra[b]."""

    parts: dict[str, int]
    """Bytes of the base, by part, with every block frozen."""
    active_extra: np.ndarray
    """int64 [L]: what block b costs more when active than when frozen."""
    source: Source = "modelled"

    @property
    def base(self) -> int:
        """Bytes with every block frozen."""
        return sum(self.parts.values())

    def bytes_of(self, active: frozenset[int]) -> int:
        """Bytes of a client that activates `active`."""
        return self.base + int(self.active_extra[list(active)].sum())

    def parts_of(self, active: frozenset[int]) -> dict[str, int]:
        """Bytes by part with `active` active; `active blocks` is what they cost beyond being frozen."""
        return {**self.parts, "active blocks": self.bytes_of(active) - self.base}


def require_within(client: str, budget: int | None, memory: ClientMemory, active: frozenset[int]) -> None:
    """Whether a client's active set fits its budget.

    Raises:
        BudgetExceeded: names client, bytes, what is over, and the largest part.
    """
    held = memory.bytes_of(active)
    if budget is not None and held > budget:
        raise BudgetExceeded(
            f"{client} would hold {held:,} bytes ({memory.source}) with blocks {sorted(active)} active, "
            f"{held - budget:,} over its budget of {budget:,}; {largest(memory.parts_of(active))}: raise its budget, "
            "lower data.batch_size or data.max_length, or set memory.frozen=host"
        )


def largest(parts: Mapping[str, int]) -> str:
    """As in 'the largest part is activations with 12 MB'."""
    name = max(parts, key=lambda part: parts[part])
    return f"the largest part is {name} with {format_bytes(parts[name])}"
