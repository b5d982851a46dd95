"""`ClientHost` serves clients from one replica, in every backend. `SequentialBackend` is a host in the driver's
process.
"""

import dataclasses
import functools
import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec
import numpy as np
import torch

from zorba_ray.active_sets import ActiveSets
from zorba_ray.adversaries import attacks_of
from zorba_ray.config import ExperimentConfig
from zorba_ray.data import BatchOrder, Shards, fitting_rows
from zorba_ray.directions import uniforms
from zorba_ray.errors import ConfigError, Diverged, StaleReplica, ZorbaError
from zorba_ray.federation.backend import Answer, Failure, Usage
from zorba_ray.federation.client_accelerator import ClientAccelerator
from zorba_ray.methods import Method
from zorba_ray.models import Batch, TaskModel
from zorba_ray.privacy import Secret, client_key
from zorba_ray.protocol.messages import (
    ClientReport,
    ProbePlan,
    ProbeReport,
    RoundPlan,
    decode_question,
    encode,
    frame_digest,
)
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.protocol.tags import report_keys, tagged
from zorba_ray.stopwatch import UNWATCHED, Watch
from zorba_ray.zo import probe_scalars, scheduled

_TOGETHER = 16
"""Most clients with shared directions that go through the model together: the hidden states of all are held at once."""
_ORDERS = 256
"""Number of clients whose batch order is kept in memory; those of others are computed again when needed."""


class ClientBatches:
    """Batches of the clients of `shards`, on `device`; with `data.label_shift`, corrected for label shares."""

    def __init__(self, config: ExperimentConfig, shards: Shards, pad: int, device: str) -> None:
        self.shards = shards
        self._config, self._pad, self._device = config, pad, device
        self._share = config.data.label_shift
        self._counts = shards.label_counts(len(config.data.label_words)) if self._share else np.zeros(0)
        self._order = functools.lru_cache(maxsize=_ORDERS)(self._make_order)

    def batch(self, client: int, examples: np.ndarray, round: int = 1) -> Batch:
        """A batch of some of a client's examples (int64: positions among its own), as in `round` (1 … rounds)."""
        batch = Batch.of(*self.shards.collate(client, examples, self._pad))
        if self._share:
            share = scheduled(self._config.data.label_shift_schedule, self._share, round, self._config.rounds)
            shift = torch.from_numpy(share * self.shards.label_shift(client, self._counts)).float()
            batch = dataclasses.replace(batch, shift_C=shift)
        return batch.to(self._device)

    def of_round(self, client: int, round: int) -> list[Batch]:
        """The minibatches of a client's local steps in a round."""
        steps, order = self._config.local_steps, self._order(client)
        return [self.batch(client, order.rows(step), round) for step in range((round - 1) * steps, round * steps)]

    def of_probe(self, client: int, round: int) -> list[Batch]:
        """Two batches drawn with replacement, so that they are independent also for a client with few examples."""
        draws = uniforms(self._config.seed, "probe", client, round, 2 * self._config.data.batch_size)
        return [self.drawn(client, half, round) for half in draws.reshape(2, -1)]

    def drawn(self, client: int, draws: np.ndarray, round: int = 1) -> Batch:
        """A batch of random examples, chosen by `draws` (float64 in (0, 1)); only the first that fit into a batch."""
        examples = (draws * len(self.shards.rows[client])).astype(np.int64)
        limit = self.shards.own_tokens(self._config.data.batch_tokens)
        fit = fitting_rows(self.shards.own_lengths(client)[examples], limit)
        return self.batch(client, examples[:fit], round)

    def _make_order(self, client: int) -> BatchOrder:
        data, lengths = self._config.data, self.shards.own_lengths(client)
        limit = self.shards.own_tokens(data.batch_tokens)
        return BatchOrder(self._config.seed, client, lengths, data.batch_size, limit)


class ClientHost:
    """Answers plans for its clients. Their examples are in this process and are not sent."""

    def __init__(
        self,
        config: ExperimentConfig,
        method: Method,
        model: TaskModel,
        state: ReplicaState,
        watch: Watch = UNWATCHED,
        accelerator: ClientAccelerator | None = None,
        secret: Secret | None = None,
    ) -> None:
        """The host has no clients before `load_shards`.

        Args:
            watch: the stopwatch of this process.
            secret: of the run's clients, with `privacy` or `federation.authenticated`.
            accelerator: places and measures clients; None: all blocks stay where the model is, and nothing is measured.
        """
        self.state = state
        self.watch = watch
        self._config, self._method, self._model, self._accelerator = config, method, model, accelerator
        self._secret = secret
        self._keys = report_keys(secret) if secret is not None and config.federation.authenticated else None
        # An accelerator has the blocks of one client at a time.
        alone = accelerator is not None or config.federation.seeds != "shared"
        self._group = 1 if alone else _TOGETHER
        self._attacks = attacks_of(config)
        self.batches: ClientBatches | None = None

    @property
    def vram_peaks(self) -> Mapping[int, int]:
        """Client -> bytes measured on a real GPU; empty on a simulated one."""
        return {} if self._accelerator is None else self._accelerator.peaks

    def load_shards(self, shards: Shards) -> None:
        """Adds clients with their training examples."""
        pad = int(self._model.loaded.tokenizer.pad_token_id)
        self.batches = ClientBatches(self._config, shards, pad, self._model.device)

    def answer(self, frame: bytes, clients: Sequence[int], seconds: float = float("inf")) -> dict[int, Answer]:
        """Answers of `clients` to a plan's frame: at least the first, then the next ones until `seconds` have passed.

        A client's report is a pure function of plan, θ and the client's data. An error of a client becomes its
        `Failure`.

        Raises:
            StaleReplica: this replica is not at the round that the plan needs, or has no clients yet.
        """
        end = time.monotonic() + seconds
        plan = decode_question(frame)
        if self.batches is None:
            raise StaleReplica("this worker has no clients yet")
        if plan.parent != self.state.chain[:8]:
            raise StaleReplica(f"a replica at round {self.state.round} was given the plan of round {plan.round}")
        if isinstance(plan, RoundPlan) and plan.active is not None:
            self.state.set_active(plan.active)
        digest = frame_digest(frame)
        reports: dict[int, ClientReport | ProbeReport | Failure] = {}
        for start in range(0, len(clients), self._group):
            if reports and time.monotonic() > end:
                break
            reports.update(self._together(plan, digest, self.batches, clients[start : start + self._group]))
        # All are encoded at the end: right after a forward pass the processor's caches hold other data.
        return {client: report if isinstance(report, Failure) else encode(report) for client, report in reports.items()}

    def _together(
        self, plan: RoundPlan | ProbePlan, digest: bytes, examples: ClientBatches, clients: Sequence[int]
    ) -> Mapping[int, ClientReport | ProbeReport | Failure]:
        """Reports of some clients at once. If that fails, of one after another, to find the client at fault."""
        try:
            if isinstance(plan, ProbePlan):
                with self.watch.part("forward"):
                    return {client: self._probe(plan, digest, examples, client) for client in clients}
            with self.watch.part("batches"):
                batches = {client: examples.of_round(client, plan.round) for client in clients}
            active = self.state.active.of(clients[0])
            with self.watch.part("forward"), self._serving(clients[0], plan.round, active):
                honest = {client: own for client, own in batches.items() if client not in self._attacks}
                reports = self._method.client_steps(self.state, self._model, plan, digest, honest) if honest else []
                reports += [self._attacked(plan, digest, n, batches[n]) for n in clients if n in self._attacks]
            return {report.client: self._sent(report, plan) for report in reports}
        except ZorbaError as error:
            if len(clients) == 1:
                return {clients[0]: Failure("failed", f"{type(error).__name__}: {error}", isinstance(error, Diverged))}
        alone = [self._together(plan, digest, examples, [client]) for client in clients]
        return {client: report for reports in alone for client, report in reports.items()}

    def _sent(self, report: ClientReport, plan: RoundPlan) -> ClientReport:
        """The report as it is sent. With `privacy` its scalars have noise that is a function of the client's secret and
        of the plan, and it has no loss. With `federation.authenticated` it has a tag.

        Raises:
            ConfigError: this host has no secret; or too many scalars.
        """
        noise, authenticated = self.state.rule.noise, self._config.federation.authenticated
        if self._secret is None and (noise is not None or authenticated):
            raise ConfigError("clients are asked outside of a run, where they have no keys; set privacy=null")
        if noise is not None and self._secret is not None:
            key = client_key(self._secret, report.client, "noise", hashlib.sha256(encode(plan)).digest())
            report = msgspec.structs.replace(report, loss=b"", scalars=noise.release(report.scalars, key))
        if (attack := self._attacks.get(report.client)) is not None:  # behind the noise, which it need not add
            values = attack.values(self._method.reported(report, self.state), plan.round)
            report = self._method.reporting(report, values, self.state)
        return report if self._keys is None else tagged(report, self._keys)

    def _attacked(self, plan: RoundPlan, digest: bytes, client: int, batches: Sequence[Batch]) -> ClientReport:
        """What a hostile client (`adversaries`) computes; `_sent` changes what it reports."""
        attack = self._attacks[client]
        own = {client: attack.batches(batches)}
        (report,) = self._method.client_steps(self.state, self._model, attack.plan(plan), digest, own)
        return msgspec.structs.replace(report, round=plan.round)

    def _serving(self, client: int, round: int, active: frozenset[int]) -> AbstractContextManager[None]:
        if self._accelerator is None:
            return nullcontext()
        return self._accelerator.serving(client, round, active)

    def _probe(self, plan: ProbePlan, digest: bytes, examples: ClientBatches, client: int) -> ProbeReport:
        state, blocks = self.state, list(range(self.state.active.blocks))
        if plan.blocks is not None:
            fitting = ActiveSets.unpacked(plan.blocks, state.active.clients, len(blocks))
            blocks = sorted(fitting.of(client))
        batches = examples.of_probe(client, plan.round)
        with self._serving(client, plan.round, frozenset(blocks[:1])):
            scalars = probe_scalars(
                self._model, state.rule, plan.round, plan.perturbation_scale, blocks, plan.pairs, batches
            )
        return ProbeReport(plan.round, client, digest, scalars.astype("<f4").tobytes())


class SequentialBackend:
    """`Backend` without other processes: all clients run one after another here, on the driver's replica. It is the
    reference, and useful for debugging. It has no deadline and no retries."""

    def __init__(self, host: ClientHost) -> None:
        self._host = host

    def ask(self, plan: bytes, clients: Sequence[int], enough: int | None = None) -> dict[int, Answer]:
        return self._host.answer(plan, clients)

    def apply(self, body: bytes) -> None:
        """Nothing to do: the driver shares this replica, and has applied the commit."""

    def usage(self) -> list[Usage]:
        return []

    def retries(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to do: there are no workers."""
