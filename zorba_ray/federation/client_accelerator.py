"""The accelerator as one client at a time sees it: its blocks placed by its budget, on a GPU capped and measured."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from zorba_ray.federation.gpu_budget import GpuBudgets
from zorba_ray.memory import FleetMemory
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
            self._model.place(self._memory.placement(budget))
        if self._gpu is None:
            yield
            return
        if client != self._served:
            self._model.clear()  # the peak of a client holds nothing of the one before
            self._served = client
        with self._gpu.serving(client, active, budget):
            yield
