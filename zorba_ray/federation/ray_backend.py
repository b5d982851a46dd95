"""Clients as Ray actors. All waiting happens in one loop with a deadline; there is no bare `ray.get` of many.

A client's answer is a pure function of the ledger, the plan and its data, so an actor that died is restarted by Ray,
caught up from the ledger and asked again: the run's numbers do not change.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Shards
from zorba_ray.errors import ClusterError, StaleReplica, ZorbaError
from zorba_ray.federation.backend import Answer, Failure, Usage
from zorba_ray.federation.placement import ActorSpec, largest_first
from zorba_ray.federation.ray_actors import ClientActor
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.snapshot import newest_snapshot

_START_S = 300.0
"""Seconds for all actors to load the model, once."""
_BACKOFF_S = 0.2
_SLICE_S = 0.25
"""Seconds after which an actor hands over the answers it has: few calls where clients are quick, few late clients where
they are slow."""


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
        self._deadline_s = config.federation.deadline_s
        self._allowed = config.federation.retries
        self._specs = list(specs)
        self._ledger = ledger
        self._retried = 0
        self._snapshots = snapshots
        self._snapshot: tuple[int, int, Any] | None = None
        """(ledger's last round when it was looked for, its round, reference): read once for all actors that start."""
        self._returning: dict[int, float] = {}
        """Actors that were lost and have not told their position since -> when they were lost (monotonic)."""
        tree = config.resolved()
        actor: Any = ray.remote(ClientActor)
        # Not arguments of the actor: Ray could not restart it once such an object is lost.
        self._table = ray.put(shards.table)
        self._rows = [ray.put({client: shards.rows[client] for client in spec.clients}) for spec in self._specs]
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
        self._home = {client: place for place, spec in enumerate(self._specs) for client in spec.clients}
        self._await_start()

    def _await_start(self) -> None:
        waiting = {handle.position.remote(): place for place, handle in enumerate(self._actors)}
        end = time.monotonic() + _START_S
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
            if not ready:
                names = ", ".join(self._specs[place].name for place in waiting.values())
                raise ClusterError(
                    f"{names} did not start within {_START_S:.0f} s; the cluster has {ray.available_resources()} free"
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
        return ClusterError(f"actor {self._specs[place].name} could not start: {cause}")

    def _bring_up(self, place: int, position: int) -> None:
        """Gives an actor that has started its clients and the commits it lacks."""
        self._actors[place].settle.remote(self._table, self._rows[place])
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
        question = _Question(self, plan, clients, time.monotonic() + self._deadline_s)
        answers = question.run()
        self._retried += question.retried
        return answers

    def apply(self, body: bytes) -> None:
        """Sent, not awaited: an actor that misses a commit is caught when it is asked next."""
        for handle in self._actors:
            handle.apply.remote(body)

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


class _Question:
    """One plan put to some clients: what is pending, who must be asked again."""

    def __init__(self, backend: RayBackend, plan: bytes, clients: Sequence[int], end: float) -> None:
        self._backend = backend
        self._plan = plan
        self._end = end
        self._answers: dict[int, Answer] = {}
        self._attempts = dict.fromkeys(clients, 0)
        self._pending: dict[Any, tuple[int, list[int]]] = {}
        """Object reference -> (actor, clients asked); no clients: the position of an actor that was lost."""
        self._wanted: dict[int, list[int]] = {}
        """Lost actor -> clients to ask again once it is back."""
        self.retried = 0

    def run(self) -> dict[int, Answer]:
        """One answer per client; those still out at the deadline are late and their actors are restarted."""
        homes: dict[int, list[int]] = {}
        for client in self._attempts:
            homes.setdefault(self._backend._home[client], []).append(client)
        for place, clients in homes.items():
            if place in self._backend._returning:
                self._await_return(place, clients)
            else:
                self._submit(place, clients)
        while self._pending:
            left = self._end - time.monotonic()
            ready, _ = ray.wait(list(self._pending), timeout=max(0.0, left))
            if not ready:
                self._give_up()
                break
            for ref in ready:
                if ref in self._pending:
                    self._receive(ref, *self._pending.pop(ref))
        return self._answers

    def _submit(self, place: int, clients: list[int]) -> None:
        if clients:
            call = self._backend._actors[place].answer.remote(self._plan, clients, _SLICE_S)
            self._pending[call] = (place, clients)

    def _receive(self, ref: Any, place: int, clients: list[int]) -> None:
        try:
            value: Any = ray.get(ref)
        except RayTaskError as error:
            if not clients or isinstance(error.cause, StaleReplica):
                self._lose(place, clients)
            elif len(clients) > 1:  # one of them is at fault
                for client in clients:
                    self._submit(place, [client])
            else:
                cause = error.cause
                self._answers[clients[0]] = Failure("failed", f"{type(cause).__name__}: {cause}")
        except ActorDiedError as error:
            # Restarts are unlimited, so this actor cannot be built again.
            self._fail_all(place, clients, f"its actor cannot be restarted: {str(error).strip().splitlines()[0]}")
        except RayError:
            self._lose(place, clients)
        else:
            if clients:
                self._answers.update(value)
                self._submit(place, [client for client in clients if client not in value])
            else:
                self._backend._returning.pop(place, None)
                self._backend._bring_up(place, value)
                self._submit(place, self._wanted.pop(place))

    def _lose(self, place: int, clients: list[int]) -> None:
        """An actor died, is restarting, or is behind: take back what it owes, and ask where it stands."""
        owed = self._take_back(place, clients)
        if not clients:
            time.sleep(min(_BACKOFF_S, max(0.0, self._end - time.monotonic())))
        else:
            self.retried += len(owed)
            for debtor in owed:
                self._attempts[debtor] += 1
        returning = []
        for debtor in owed:
            if self._attempts[debtor] > self._backend._allowed:
                reason = (
                    f"its actor was lost {self._attempts[debtor]} times, federation.retries={self._backend._allowed}"
                )
                self._answers[debtor] = Failure("failed", reason)
            else:
                returning.append(debtor)
        self._await_return(place, returning)

    def _await_return(self, place: int, clients: list[int]) -> None:
        """Asks a lost actor for its position; `clients` are asked again when it answers."""
        wanted = self._wanted.setdefault(place, [])
        wanted.extend(clients)
        asked = any(home == place for home, _ in self._pending.values())
        self._backend._returning.setdefault(place, time.monotonic())
        if wanted and not asked:
            self._pending[self._backend._actors[place].position.remote()] = (place, [])

    def _take_back(self, place: int, clients: list[int]) -> list[int]:
        """Removes everything pending on an actor; returns the clients it was to answer for, in order."""
        owed = list(clients)
        for ref, (home, others) in list(self._pending.items()):
            if home == place:
                del self._pending[ref]
                owed += others
        return sorted(owed)

    def _fail_all(self, place: int, clients: list[int], reason: str) -> None:
        for debtor in {*self._take_back(place, clients), *self._wanted.pop(place, [])}:
            self._answers[debtor] = Failure("failed", reason)

    def _give_up(self) -> None:
        """The deadline: a hung process cannot be told from a slow one, so both are restarted.

        An actor that is on its way back already is left alone, or a deadline shorter than a start would keep it away.
        """
        late = [client for client in self._attempts if client not in self._answers]
        for client in late:
            self._answers[client] = Failure(
                "late", f"no report within federation.deadline_s={self._backend._deadline_s:g}"
            )
        now = time.monotonic()
        for place in {self._backend._home[client] for client in late}:
            if now - self._backend._returning.get(place, -_START_S) >= _START_S:
                ray.kill(self._backend._actors[place], no_restart=False)
                self._backend._returning[place] = now
