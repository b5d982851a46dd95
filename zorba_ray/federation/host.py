"""A process that serves clients from one replica: the part that every backend shares."""

import functools
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import BatchOrder, Shards
from zorba_ray.directions import uniforms
from zorba_ray.errors import Diverged, StaleReplica, ZorbaError
from zorba_ray.federation.backend import Answer, Failure
from zorba_ray.federation.client_accelerator import ClientAccelerator
from zorba_ray.federation.client_batches import ClientBatches
from zorba_ray.methods import Method
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.codec import decode_question, encode, frame_digest
from zorba_ray.protocol.messages import ClientReport, ProbePlan, ProbeReport, RoundPlan, unpack_active
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.stopwatch import UNWATCHED, Watch
from zorba_ray.zo import probe_scalars

_TOGETHER = 16
"""Clients that go through the model together where they share directions: their hidden states are held at once."""
_ORDERS = 256
"""Clients whose batch order of the current epoch is kept; others' is made anew from its counters."""


class ClientHost:
    """Answers plans for its clients; their examples stay here."""

    def __init__(
        self,
        config: ExperimentConfig,
        method: Method,
        model: TaskModel,
        state: ReplicaState,
        watch: Watch = UNWATCHED,
        accelerator: ClientAccelerator | None = None,
    ) -> None:
        """Nobody lives here before `settle`.

        Args:
            watch: of this process.
            accelerator: what places and measures clients; None: all blocks are where the model is, unmeasured.
        """
        self.state = state
        self.watch = watch
        self._method = method
        self._model = model
        self._local_steps = config.local_steps
        self._accelerator = accelerator
        # An accelerator holds the blocks of one client at a time.
        alone = accelerator is not None or config.federation.seeds != "shared"
        self._group = 1 if alone else _TOGETHER
        self._pad = int(model.loaded.tokenizer.pad_token_id)
        self._seed, self._batch_size = config.seed, config.data.batch_size
        self._config = config
        self._shards: Shards | None = None
        self._examples: ClientBatches | None = None
        self._order = functools.lru_cache(maxsize=_ORDERS)(self._make_order)

    @property
    def vram_peaks(self) -> Mapping[int, int]:
        """Client -> bytes measured on a real GPU; empty on a simulated one."""
        return {} if self._accelerator is None else self._accelerator.peaks

    def settle(self, shards: Shards) -> None:
        """Takes in clients with their training examples."""
        self._shards = shards
        self._examples = ClientBatches(self._config, shards, self._pad, self._model.device)

    def answer(self, frame: bytes, clients: Sequence[int], seconds: float = float("inf")) -> dict[int, Answer]:
        """Answers to a plan's frame: of the first of `clients` at least, then of the next ones until `seconds` passed.

        A client's report is a pure function of plan, θ and the client's data; its error is a `Failure` of its own.

        Raises:
            StaleReplica: this replica is not where the plan expects it, or its clients have not settled.
        """
        end = time.monotonic() + seconds
        plan = decode_question(frame)
        if self._shards is None:
            raise StaleReplica("no client has settled here yet")
        if plan.parent != self.state.chain[:8]:
            raise StaleReplica(f"replica at round {self.state.round} was given the plan of round {plan.round}")
        if isinstance(plan, RoundPlan) and plan.active is not None:
            self.state.set_active(plan.active)
        digest = frame_digest(frame)
        found: dict[int, ClientReport | ProbeReport | Failure] = {}
        for start in range(0, len(clients), self._group):
            if found and time.monotonic() > end:
                break
            found.update(self._answer_together(plan, digest, clients[start : start + self._group]))
        # Encoded in one go: right after a forward pass the processor's caches hold other things.
        return {client: own if isinstance(own, Failure) else encode(own) for client, own in found.items()}

    def _answer_together(
        self, plan: RoundPlan | ProbePlan, digest: bytes, clients: Sequence[int]
    ) -> Mapping[int, ClientReport | ProbeReport | Failure]:
        try:
            if isinstance(plan, ProbePlan):
                with self.watch.part("forward"):
                    return {client: self._probe(plan, digest, client) for client in clients}
            with self.watch.part("batches"):
                batches = {client: self._batches(client, plan.round) for client in clients}
            with self.watch.part("forward"), self._serving(clients[0], plan.round, self.state.active[clients[0]]):
                reports = self._method.client_steps(self.state, self._model, plan, digest, batches)
            return {report.client: report for report in reports}
        except ZorbaError as error:
            if len(clients) == 1:
                return {clients[0]: Failure("failed", f"{type(error).__name__}: {error}", isinstance(error, Diverged))}
        found: dict[int, ClientReport | ProbeReport | Failure] = {}
        for client in clients:
            found.update(self._answer_together(plan, digest, [client]))
        return found

    def _serving(self, client: int, round: int, active: frozenset[int]) -> AbstractContextManager[None]:
        if self._accelerator is None:
            return nullcontext()
        return self._accelerator.serving(client, round, active)

    def _batches(self, client: int, round: int) -> list[Batch]:
        """The minibatches of a client's local steps in a round."""
        assert self._shards is not None
        first = (round - 1) * self._local_steps
        order = self._order(client)
        return [self._batch(client, order.rows(step), round) for step in range(first, first + self._local_steps)]

    def _batch(self, client: int, rows: np.ndarray, round: int) -> Batch:
        assert self._examples is not None
        return self._examples.batch(client, rows, round)

    def _probe(self, plan: ProbePlan, digest: bytes, client: int) -> ProbeReport:
        """Two batches, drawn with replacement: independent of each other however few examples the client has."""
        assert self._shards is not None
        examples = len(self._shards.rows[client])
        draws = uniforms(self._seed, "probe", client, plan.round, 2 * self._batch_size)
        rows = (draws * examples).astype(np.int64).reshape(2, -1)
        batches = [self._batch(client, own, plan.round) for own in rows]
        rule, blocks = self.state.rule, range(self.state.header.blocks)
        if plan.blocks is not None:
            blocks = sorted(unpack_active(plan.blocks, len(rule.samples), len(blocks))[client])
        scale = plan.perturbation_scale
        with self._serving(client, plan.round, frozenset(blocks[:1])):
            scalars = probe_scalars(self._model, rule, plan.round, scale, blocks, plan.pairs, batches)
        return ProbeReport(plan.round, client, digest, scalars.astype("<f4").tobytes())

    def _make_order(self, client: int) -> BatchOrder:
        assert self._shards is not None
        return BatchOrder(self._seed, client, self._shards.lengths(client), self._batch_size)
