"""Clients as Ray actors: the backend starts them, brings them to the ledger's end, asks them (`ray_call`), ends them.

A client's answer is a pure function of the ledger, the plan and its data. So if an actor dies, Ray restarts it, it
catches up from the ledger and is asked again, and the run's numbers do not change.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Shards
from zorba_ray.errors import ClusterError
from zorba_ray.federation.backend import Answer, Usage
from zorba_ray.federation.placement import ActorSpec, largest_first
from zorba_ray.federation.ray_actors import ClientActor
from zorba_ray.federation.ray_call import RoundCall
from zorba_ray.federation.worker_pool import READY_S, WorkerPool
from zorba_ray.privacy import Secret
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.snapshot import newest_snapshot
from zorba_ray.tasks.reward_code import RewardCode

_COMMITS = 256
"""Most commits that a starting actor is sent at once: between two parts it is known to get on."""
_LARGE = 1 << 16
"""A commit with more bytes is put into Ray's object store."""


class RayBackend:
    """`Backend` on Ray actors, pinned or packed."""

    def __init__(
        self,
        config: ExperimentConfig,
        builder: str,
        accelerator: str,
        header: LedgerHeader,
        specs: Sequence[ActorSpec],
        shards: Shards,
        ledger: Path,
        snapshots: Path,
        reward: RewardCode | None = None,
        secret: Secret | None = None,
    ) -> None:
        """Starts the actors and brings them to the ledger's end.

        Args:
            builder, accelerator, reward, secret: as in `ClientActor`.
            snapshots: folder of the run's snapshots.
            shards: training examples of all clients. Their table is stored once per node.

        Raises:
            ClusterError: an actor cannot be placed or cannot start.
        """
        self._specs, self._ledger, self._snapshots = list(specs), ledger, snapshots
        self._settings, self._retried = config.federation, 0
        self._snapshot: tuple[int, int, Any] | None = None
        """(last round of the ledger when the snapshot was read, round of the snapshot, its reference). It is read once
        for all actors that start."""
        # These are not arguments of the actor's constructor: Ray cannot restart an actor whose arguments are lost.
        self._table = ray.put(shards.table)
        shared = config.federation.mode == "packed"
        everybody = [ray.put(shards.rows)] * len(self._specs) if shared else []
        self._rows = everybody or [ray.put(shards.rows.take(spec.clients)) for spec in self._specs]
        tree, actor, handles = config.resolved(), ray.remote(ClientActor), {}
        for turn, number in enumerate(largest_first(self._specs)):
            spec = self._specs[number]
            options = actor.options(
                num_cpus=spec.cpus,
                num_gpus=spec.gpu_fraction,
                max_restarts=-1,
                max_task_retries=0,
                scheduling_strategy=_bundle(turn, len(self._specs)),
            )
            handles[number] = options.remote(builder, tree, accelerator, spec.gpu_fraction, header, reward, secret)
        self._pool = WorkerPool(
            handles=[handles[number] for number in range(len(self._specs))],
            home={client: number for number, spec in enumerate(self._specs) for client in spec.clients},
            shared=shared,
            bring_up=self._bring_up,
        )
        self._pool.start([spec.name for spec in self._specs])

    def _bring_up(self, number: int, position: int) -> int | None:
        """Sends an actor its clients and the commits that it lacks, or as many as go at once. The last round if it has
        all now, or will have when it has done what it was sent; else None."""
        actor, contents = self._pool.handles[number], read_ledger(self._ledger)
        if position < 0:
            actor.load_shards.remote(self._table, self._rows[number])
            position = 0
        if position == 0 or contents.header.commits == "tensors":
            if self._snapshot is None or self._snapshot[0] != contents.last_round:
                newest = newest_snapshot(self._snapshots, contents)
                self._snapshot = (contents.last_round, newest.round if newest else 0, ray.put(newest))
            _, snapshot_round, snapshot = self._snapshot
            if position < snapshot_round:
                actor.restore.remote(snapshot)
                position = snapshot_round
        if missing := contents.records[position : position + _COMMITS]:
            actor.catch_up.remote([record.body for record in missing])
        return contents.last_round if position + len(missing) == contents.last_round else None

    def ask(self, plan: bytes, clients: Sequence[int], enough: int | None = None) -> dict[int, Answer]:
        settings = self._settings
        call = RoundCall(self._pool, plan, clients, settings.deadline_s, settings.quorum, settings.retries, enough)
        answers = call.run()
        self._retried += call.retried
        return answers

    def apply(self, body: bytes) -> None:
        """Sends the commit and does not wait. If an actor misses it, this is found when the actor is asked next."""
        # A large commit (trained tensors) goes into the object store once, not once per actor.
        bodies: Any = ray.put([body]) if len(body) > _LARGE else [body]
        for handle in self._pool.handles:
            handle.catch_up.remote(bodies)

    def usage(self) -> list[Usage]:
        """Actors that do not answer within 10 s are left out."""
        calls = [handle.usage.remote(spec.name) for spec, handle in zip(self._specs, self._pool.handles, strict=True)]
        answered = []
        for call in ray.wait(calls, num_returns=len(calls), timeout=10)[0]:
            with contextlib.suppress(RayError):
                answered.append(ray.get(call, timeout=READY_S))
        return answered

    def retries(self) -> int:
        return self._retried

    def processes(self) -> dict[str, int]:
        """Actor name -> process id."""
        return {worker.worker: worker.pid for worker in self.usage()}

    def close(self) -> None:
        for handle in self._pool.handles:
            ray.kill(handle, no_restart=True)


def _bundle(turn: int, actors: int) -> Any:
    """Ray's scheduling strategy for the actor that is started at `turn`. In the placement group of a trial, the actor
    gets the bundle with this number.

    If Ray chose, a small actor could take the bundle of a large one, and the large one would wait for ever.
    """
    group = ray.util.get_current_placement_group()
    if group is None:
        return "DEFAULT"
    if group.bundle_count != actors + 1:
        raise ClusterError(f"the placement group has {group.bundle_count} bundles for {actors} actors and their driver")
    return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=turn + 1)
