"""Budgets on a real GPU: a cap on what torch allocates for the client at hand, and its measured peak.

The CUDA context is no part of either. Not run on a GPU.
"""

import contextlib
from collections.abc import Iterator

import torch

from zorba_ray.errors import BudgetExceeded
from zorba_ray.memory import FleetMemory, largest


class GpuBudgets:
    """Of the clients that a process serves on one GPU, one after another."""

    def __init__(self, memory: FleetMemory) -> None:
        self._memory = memory
        self._device = torch.cuda.current_device()
        self._total = torch.cuda.get_device_properties(self._device).total_memory
        self.peaks: dict[int, int] = {}
        """Client -> most bytes that torch held allocated while it was served (max_memory_allocated)."""

    @contextlib.contextmanager
    def serving(self, client: int, active: frozenset[int], budget: int | None) -> Iterator[None]:
        """Caps and measures what runs inside; `budget` in bytes, None: no more than the process may take.

        Raises:
            BudgetExceeded: the client needed more than its budget; names it, the bytes and the largest part.
        """
        torch.cuda.empty_cache()  # what the allocator keeps unused counts against the cap
        whole = torch.cuda.get_per_process_memory_fraction(self._device)
        if budget is not None:
            torch.cuda.set_per_process_memory_fraction(min(whole, budget / self._total), self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise BudgetExceeded(self._over(client, active, budget, str(error).splitlines()[0])) from error
        finally:
            peak = torch.cuda.max_memory_allocated(self._device)
            self.peaks[client] = max(peak, self.peaks.get(client, 0))
            torch.cuda.set_per_process_memory_fraction(whole, self._device)
        if budget is not None and peak > budget:
            raise BudgetExceeded(self._over(client, active, budget, f"{peak:,} bytes were allocated (measured)"))

    def _over(self, client: int, active: frozenset[int], budget: int | None, seen: str) -> str:
        memory = self._memory.of(budget)
        room = f"{self._total:,} bytes of the GPU" if budget is None else f"its budget of {budget:,} bytes"
        return (
            f"client {client} needs more than {room}: {seen}; {memory.source} are {memory.bytes_of(active):,} bytes, "
            f"{largest(memory.parts_of(active))}"
        )
