"""The bytes of a client by part: at its peak, for any set of active blocks, and compared with its budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zorba_ray.errors import BudgetExceeded
from zorba_ray.units import format_bytes

Source = Literal["modelled", "counted", "measured"]
"""modelled: by formula. counted: the sum of all live tensors in a run without memory. measured: by a GPU's
allocator."""

PARTS = (
    "stem", "frozen", "active", "scratch", "stream buffers", "activations", "logits", "gradients", "optimizer state",
)  # fmt: skip
"""Parts of the accelerator's memory. `active`: tensors that are trained or perturbed, also LoRA adapters. `scratch`:
buffer for a perturbed tensor. The CUDA context is not included."""


@dataclass(frozen=True)
class Footprint:
    """The bytes of a client at its peak."""

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
    """int64 [L]: extra bytes of block b when it is active, compared with frozen."""
    source: Source = "modelled"

    @property
    def base(self) -> int:
        """Bytes with every block frozen."""
        return sum(self.parts.values())

    def bytes_of(self, active: frozenset[int]) -> int:
        """Bytes of a client that activates `active`."""
        return self.base + int(self.active_extra[list(active)].sum())

    def parts_of(self, active: frozenset[int]) -> dict[str, int]:
        """Bytes by part with these active blocks; the part `active blocks` is their extra bytes."""
        return {**self.parts, "active blocks": self.bytes_of(active) - self.base}


def require_within(client: str, budget: int | None, memory: ClientMemory, active: frozenset[int]) -> None:
    """Checks that a client's active set fits its budget.

    Raises:
        BudgetExceeded: it does not; names client, bytes, the excess, and the largest part.
    """
    needed = memory.bytes_of(active)
    if budget is not None and needed > budget:
        raise BudgetExceeded(
            f"{client} would hold {needed:,} bytes ({memory.source}) with blocks {sorted(active)} active, "
            f"{needed - budget:,} over its budget of {budget:,}; {largest(memory.parts_of(active))}: raise its budget, "
            "lower data.batch_size or data.max_length, or set memory.frozen_format=nf4 or memory.frozen=host"
        )


def largest(parts: Mapping[str, int]) -> str:
    """As in 'the largest part is activations with 12 MB'."""
    name = max(parts, key=lambda part: parts[part])
    return f"the largest part is {name} with {format_bytes(parts[name])}"
