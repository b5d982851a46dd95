"""Budgets as a rule: nobody starts over its own, and who exceeds it is named with the part that takes the most."""

from collections.abc import Mapping

from zorba_ray.errors import BudgetExceeded
from zorba_ray.memory.inventory import ClientMemory
from zorba_ray.units import format_bytes


def parts_of(memory: ClientMemory, active: frozenset[int]) -> dict[str, int]:
    """Bytes by part with `active` active; `active blocks` is what they cost beyond being frozen."""
    extra = memory.bytes_of(active) - memory.base
    return {**memory.parts, "active blocks": extra}


def require_within(client: str, budget: int | None, memory: ClientMemory, active: frozenset[int]) -> None:
    """Whether a client's active set fits its budget.

    Raises:
        BudgetExceeded: names client, bytes, what is over, and the largest part.
    """
    held = memory.bytes_of(active)
    if budget is not None and held > budget:
        raise BudgetExceeded(
            f"{client} would hold {held:,} bytes ({memory.source}) with blocks {sorted(active)} active, "
            f"{held - budget:,} over its budget of {budget:,}; {largest(parts_of(memory, active))}: raise its budget, "
            "lower data.batch_size or data.max_length, or set memory.frozen=host"
        )


def largest(parts: Mapping[str, int]) -> str:
    """As in 'the largest part is activations with 12 MB'."""
    name = max(parts, key=lambda part: parts[part])
    return f"the largest part is {name} with {format_bytes(parts[name])}"
