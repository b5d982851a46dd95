"""The accelerator as one client at a time sees it: its blocks placed by its budget, on a GPU capped and measured.

On a real GPU a budget is a cap on what torch allocates; the CUDA context is no part of it, nor of the measured peak.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from zorba_ray.errors import BudgetExceeded
from zorba_ray.memory import FleetMemory, largest
from zorba_ray.models import TaskModel


class ClientAccelerator:
    """Of the clients that a process serves, one after another."""

    def __init__(
        self, model: TaskModel, memory: FleetMemory, budgets_at: Callable[[int], Sequence[int | None]]
    ) -> None:
        """`budgets_at`: round -> budget of every client in bytes, or None."""
        self._model, self._memory, self._budgets_at = model, memory, budgets_at
        self._gpu = GpuBudgets(memory) if model.device == "cuda" else None
        self._served: int | None = None

    @property
    def peaks(self) -> Mapping[int, int]:
        """Client -> bytes measured on a real GPU; empty on a simulated one."""
        return {} if self._gpu is None else self._gpu.peaks

    @contextlib.contextmanager
    def serving(self, client: int, round: int, active: frozenset[int]) -> Iterator[None]:
        """Blocks live where the client's placement says while this runs; on a real GPU within its budget.

        Raises:
            BudgetExceeded: on a real GPU, with the client, the bytes and the largest part.
        """
        budget = self._budgets_at(round)[client]
        if self._model.store is not None:
            self._model.use_placement(self._memory.placement(budget))
        if self._gpu is None:
            yield
            return
        if client != self._served:
            self._model.clear()  # the peak of a client holds nothing of the one before
            self._served = client
        with self._gpu.serving(client, active, budget):
            yield


class GpuBudgets:
    """Caps and measures the clients that a process serves on one GPU."""

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
        limit = f"{self._total:,} bytes of the GPU" if budget is None else f"its budget of {budget:,} bytes"
        return (
            f"client {client} needs more than {limit}: {seen}; {memory.source} are {memory.bytes_of(active):,} bytes, "
            f"{largest(memory.parts_of(active))}"
        )
