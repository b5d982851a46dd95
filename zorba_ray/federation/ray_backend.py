"""Clients as Ray actors: started, brought to the ledger's end, asked (`ray_question`), ended.

A client's answer is a pure function of the ledger, the plan and its data, so an actor that died is restarted by Ray,
caught up from the ledger and asked again: the run's numbers do not change.
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
from zorba_ray.federation.ray_question import START_S, Crew, Question
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.snapshot import newest_snapshot

_LARGE = 1 << 16
"""Bytes of a commit."""


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
    ) -> None:
        """Starts the actors and brings them to the ledger's end.

        Args:
            builder, accelerator: see `ClientActor`.
            snapshots: folder of the run's snapshots.
            shards: training examples of all clients; the table is put into each node's memory once.

        Raises:
            ClusterError: an actor cannot be placed or cannot start.
        """
        self._specs = list(specs)
        self._ledger = ledger
        self._retried = 0
        self._snapshots = snapshots
        self._snapshot: tuple[int, int, Any] | None = None
        """(ledger's last round when it was looked for, its round, reference): read once for all actors that start."""
        tree = config.resolved()
        actor: Any = ray.remote(ClientActor)
        # Not arguments of the actor: Ray could not restart it once such an object is lost.
        self._table = ray.put(shards.table)
        self._rows = [ray.put(shards.rows.take(spec.clients)) for spec in self._specs]
        handles = {
            place: actor.options(
                num_cpus=(spec := self._specs[place]).cpus,
                num_gpus=spec.gpu_fraction,
                max_restarts=-1,
                max_task_retries=0,
                scheduling_strategy=_room(turn, len(self._specs)),
            ).remote(
                builder,
                tree,
                accelerator,
                spec.gpu_fraction,
                header,
            )
            for turn, place in enumerate(largest_first(self._specs))
        }
        self._actors: list[Any] = [handles[place] for place in range(len(self._specs))]
        self._crew = Crew(
            handles=self._actors,
            home={client: place for place, spec in enumerate(self._specs) for client in spec.clients},
            bring_up=self._bring_up,
            deadline_s=config.federation.deadline_s,
            retries=config.federation.retries,
        )
        self._await_start()

    def _await_start(self) -> None:
        waiting = {handle.position.remote(): place for place, handle in enumerate(self._actors)}
        end = time.monotonic() + START_S
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
            if not ready:
                names = ", ".join(self._specs[place].name for place in waiting.values())
                raise ClusterError(
                    f"{names} did not start within {START_S:.0f} s; the cluster has {ray.available_resources()} free"
                )
            for ref in ready:
                place = waiting.pop(ref)
                try:
                    self._bring_up(place, ray.get(ref))
                except RayTaskError as error:
                    raise self._start_error(place, error.cause) from error
                except RayActorError as error:
                    raise self._start_error(place, error) from error

    def _start_error(self, place: int, cause: BaseException) -> ZorbaError:
        inner = getattr(cause, "cause", None) or cause
        if isinstance(inner, ZorbaError):
            return inner
        # Ray tells of an actor's death by the traceback of it, whose last line says why.
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[-1]
        return ClusterError(f"actor {self._specs[place].name} could not start: {reason}")

    def _bring_up(self, place: int, position: int) -> None:
        """Gives an actor that has started its clients and the commits it lacks."""
        self._actors[place].load_shards.remote(self._table, self._rows[place])
        contents = read_ledger(self._ledger)
        if position >= contents.last_round:
            return
        if self._snapshot is None or self._snapshot[0] != contents.last_round:
            found = newest_snapshot(self._snapshots, contents)
            self._snapshot = (contents.last_round, found.round if found else 0, ray.put(found))
        _, known, snapshot = self._snapshot
        if position < known:
            self._actors[place].restore.remote(snapshot)
            position = known
        self._actors[place].catch_up.remote([record.body for record in contents.records[position:]])

    def ask(self, plan: bytes, clients: Sequence[int]) -> dict[int, Answer]:
        question = Question(self._crew, plan, clients)
        answers = question.run()
        self._retried += question.retried
        return answers

    def apply(self, body: bytes) -> None:
        """Sent, not awaited: an actor that misses a commit is caught when it is asked next."""
        # Large ones, of methods that send tensors, go into the object store once, not once per actor.
        commit: Any = ray.put(body) if len(body) > _LARGE else body
        for handle in self._actors:
            handle.apply.remote(commit)

    def usage(self) -> list[Usage]:
        found = []
        for spec, handle in zip(self._specs, self._actors, strict=True):
            try:
                found.append(ray.get(handle.usage.remote(spec.name), timeout=10))
            except (RayError, GetTimeoutError):
                continue
        return found

    def retries(self) -> int:
        return self._retried

    def processes(self) -> dict[str, int]:
        """Actor name -> process id; actors that do not answer within 10 s are left out."""
        found = {}
        for spec, handle in zip(self._specs, self._actors, strict=True):
            try:
                found[spec.name] = ray.get(handle.process.remote(), timeout=10)
            except (RayError, GetTimeoutError):
                continue
        return found

    def close(self) -> None:
        for handle in self._actors:
            ray.kill(handle, no_restart=True)


def _room(turn: int, actors: int) -> Any:
    """Where the actor that is started at `turn` goes: in a trial's placement group into the bundle of that number.

    Left to Ray, a small actor may take a large one's bundle, and the large one waits for ever.
    """
    group = ray.util.get_current_placement_group()
    if group is None:
        return "DEFAULT"
    if group.bundle_count != actors + 1:
        raise ClusterError(f"the placement group has {group.bundle_count} bundles for {actors} actors and their driver")
    return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=turn + 1)
