"""Clients as Ray actors: the backend starts them, brings them to the ledger's end, asks them (`ray_call`), ends them.

A client's answer is a pure function of the ledger, the plan and its data. So if an actor dies, Ray restarts it, it
catches up from the ledger and is asked again, and the run's numbers do not change.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Shards
from zorba_ray.errors import ClusterError, ZorbaError
from zorba_ray.federation.backend import Answer, Usage
from zorba_ray.federation.placement import ActorSpec, largest_first
from zorba_ray.federation.ray_actors import ClientActor
from zorba_ray.federation.ray_call import START_S, RoundCall, WorkerPool
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.snapshot import newest_snapshot
from zorba_ray.tasks.reward_code import RewardCode

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
    ) -> None:
        """Starts the actors and brings them to the ledger's end.

        Args:
            builder, accelerator, reward: as in `ClientActor`.
            snapshots: folder of the run's snapshots.
            shards: training examples of all clients. Their table is stored once per node.

        Raises:
            ClusterError: an actor cannot be placed or cannot start.
        """
        self._specs, self._ledger, self._snapshots = list(specs), ledger, snapshots
        self._retried = 0
        self._snapshot: tuple[int, int, Any] | None = None
        """(last round of the ledger when the snapshot was read, round of the snapshot, its reference). It is read once
        for all actors that start."""
        # These are not arguments of the actor's constructor: Ray cannot restart an actor whose arguments are lost.
        self._table = ray.put(shards.table)
        self._rows = [ray.put(shards.rows.take(spec.clients)) for spec in self._specs]
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
            handles[number] = options.remote(builder, tree, accelerator, spec.gpu_fraction, header, reward)
        self._pool = WorkerPool(
            handles=[handles[number] for number in range(len(self._specs))],
            home={client: number for number, spec in enumerate(self._specs) for client in spec.clients},
            bring_up=self._bring_up,
            deadline_s=config.federation.deadline_s,
            retries=config.federation.retries,
        )
        self._await_start()

    def _await_start(self) -> None:
        waiting = {handle.position.remote(): number for number, handle in enumerate(self._pool.handles)}
        end = time.monotonic() + START_S
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
            if not ready:
                names = ", ".join(self._specs[number].name for number in waiting.values())
                raise ClusterError(
                    f"{names} did not start within {START_S:.0f} s; free resources of the cluster: "
                    f"{ray.available_resources()}. Start it with more resources, or lower federation.workers"
                )
            for call in ready:
                number = waiting.pop(call)
                try:
                    self._bring_up(number, ray.get(call))
                except (RayTaskError, RayActorError) as error:
                    cause = error.cause if isinstance(error, RayTaskError) else error
                    raise self._start_error(number, cause) from error

    def _start_error(self, number: int, cause: BaseException) -> ZorbaError:
        inner = getattr(cause, "cause", None) or cause
        if isinstance(inner, ZorbaError):
            return inner
        # Ray reports the death of an actor with its traceback, whose last line has the reason.
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[-1]
        return ClusterError(f"actor {self._specs[number].name} could not start: {reason}")

    def _bring_up(self, number: int, position: int) -> None:
        """Sends an actor that has started its clients, and the commits that it lacks."""
        actor = self._pool.handles[number]
        actor.load_shards.remote(self._table, self._rows[number])
        contents = read_ledger(self._ledger)
        if position >= contents.last_round:
            return
        if self._snapshot is None or self._snapshot[0] != contents.last_round:
            newest = newest_snapshot(self._snapshots, contents)
            self._snapshot = (contents.last_round, newest.round if newest else 0, ray.put(newest))
        _, snapshot_round, snapshot = self._snapshot
        if position < snapshot_round:
            actor.restore.remote(snapshot)
            position = snapshot_round
        actor.catch_up.remote([record.body for record in contents.records[position:]])

    def ask(self, plan: bytes, clients: Sequence[int]) -> dict[int, Answer]:
        call = RoundCall(self._pool, plan, clients)
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
        answered = []
        for spec, handle in zip(self._specs, self._pool.handles, strict=True):
            try:
                answered.append(ray.get(handle.usage.remote(spec.name), timeout=10))
            except (RayError, GetTimeoutError):
                continue
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
