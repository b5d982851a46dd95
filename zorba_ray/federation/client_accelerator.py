"""The accelerator of one client at a time: places its blocks by its budget; a real GPU is also limited and measured.

On a real GPU a budget limits the bytes that torch allocates. Neither the limit nor the measured peak includes the CUDA
context.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from zorba_ray.errors import BudgetExceeded
from zorba_ray.memory import FleetMemory, largest
from zorba_ray.models import TaskModel


class ClientAccelerator:
    """The accelerator of the clients that a process serves, one after another."""

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
        """Inside this context, blocks are at the client's placement. A real GPU is limited to its budget.

        Raises:
            BudgetExceeded: a real GPU needed more; names the client, the bytes and the largest part.
        """
        budget = self._budgets_at(round)[client]
        if self._model.store is not None:
            self._model.use_placement(self._memory.placement(budget))
        if self._gpu is None:
            yield
            return
        if client != self._served:
            self._model.clear()  # so that a client's peak has nothing of the client before
            self._served = client
        with self._gpu.serving(client, active, budget):
            yield


class GpuBudgets:
    """Limits and measures the clients that a process serves on one GPU."""

    def __init__(self, memory: FleetMemory) -> None:
        self._memory = memory
        self._device = torch.cuda.current_device()
        self._total = torch.cuda.get_device_properties(self._device).total_memory
        self.peaks: dict[int, int] = {}
        """Client -> largest number of bytes that torch had allocated while it was served (max_memory_allocated)."""

    @contextlib.contextmanager
    def serving(self, client: int, active: frozenset[int], budget: int | None) -> Iterator[None]:
        """Limits and measures the code inside; `budget` in bytes, None: the limit of the process.

        Raises:
            BudgetExceeded: the client needed more than its budget; names it, the bytes and the largest part.
        """
        torch.cuda.empty_cache()  # memory that the allocator keeps unused counts against the limit
        process_fraction = torch.cuda.get_per_process_memory_fraction(self._device)
        if budget is not None:
            torch.cuda.set_per_process_memory_fraction(min(process_fraction, budget / self._total), self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise BudgetExceeded(self._over(client, active, budget, str(error).splitlines()[0])) from error
        finally:
            peak = torch.cuda.max_memory_allocated(self._device)
            self.peaks[client] = max(peak, self.peaks.get(client, 0))
            torch.cuda.set_per_process_memory_fraction(process_fraction, self._device)
        if budget is not None and peak > budget:
            raise BudgetExceeded(self._over(client, active, budget, f"{peak:,} bytes were allocated (measured)"))

    def _over(self, client: int, active: frozenset[int], budget: int | None, reason: str) -> str:
        memory = self._memory.of(budget)
        limit = f"{self._total:,} bytes of the GPU" if budget is None else f"its budget of {budget:,} bytes"
        return (
            f"client {client} needs more than {limit}: {reason}; {memory.bytes_of(active):,} bytes were "
            f"{memory.source}, {largest(memory.parts_of(active))}: raise its budget, or lower data.batch_size or "
            "data.max_length"
        )
