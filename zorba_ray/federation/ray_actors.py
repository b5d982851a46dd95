"""The client actor: a Ray actor around a `ClientHost`."""

import importlib
import os
import resource
import time
from collections.abc import Sequence
from typing import Any

from zorba_ray.data import ClientRows, Shards, TokenTable
from zorba_ray.errors import ZorbaError
from zorba_ray.federation.backend import Answer, Usage
from zorba_ray.federation.host import ClientHost
from zorba_ray.privacy import Secret
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.snapshot import Snapshot, restore
from zorba_ray.tasks.reward_code import RewardCode


class ClientActor:
    """Serves its clients from one replica. After a restart it begins at θ0 and catches up from the ledger."""

    def __init__(
        self,
        builder: str,
        tree: dict[str, Any],
        accelerator: str,
        gpu_fraction: float,
        header: LedgerHeader,
        reward: RewardCode | None = None,
        secret: Secret | None = None,
    ) -> None:
        """`builder`: "module:function" that builds a ClientHost from (tree, accelerator, header, reward, secret)."""
        if accelerator == "cuda":
            import torch

            torch.cuda.set_per_process_memory_fraction(gpu_fraction)
        module, _, name = builder.partition(":")
        build = getattr(importlib.import_module(module), name)
        self._fault: ZorbaError | None = None
        try:
            self._host: ClientHost = build(tree, accelerator, header, reward, secret)
        except ZorbaError as error:  # from a constructor Ray would pass it on as text only; `position` raises it
            self._fault = error

    def position(self) -> int:
        """The last round that was applied; −1: it has no clients yet.

        Raises:
            ZorbaError: the actor could not be built, for example because its weights are not those of the ledger.
        """
        if self._fault is not None:
            raise self._fault
        return -1 if self._host.batches is None else self._host.state.round

    def load_shards(self, table: TokenTable, rows: ClientRows) -> None:
        """Adds the clients that it may serve.

        `table`: tokens of all clients, shared by the actors of a node. `rows`: the rows of each of these clients.
        """
        with self._host.watch.part("start"):
            self._host.load_shards(Shards(table, rows))

    def restore(self, snapshot: Snapshot) -> None:
        """Sets the replica to a snapshot of this run."""
        restore(self._host.state, snapshot)

    def catch_up(self, bodies: Sequence[bytes]) -> None:
        """Applies commits in order."""
        with self._host.watch.part("apply"):
            self._host.state.catch_up(bodies)

    def answer(self, plan: bytes, clients: Sequence[int], seconds: float) -> dict[int, Answer]:
        """Answers of the first of `clients`, as many as can be computed in `seconds`."""
        with self._host.watch.part("answer", lap=self._host.state.round + 1):
            return self._host.answer(plan, clients, seconds)

    def usage(self, name: str) -> Usage:
        """What this process has used so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        host = self._host
        return Usage(name, os.getpid(), time.process_time(), peak, host.watch.read(), host.vram_peaks)
