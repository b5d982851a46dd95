"""The base class of federated methods: pure functions for the steps of a round, without I/O, clock or processes.

The driver calls `plan`, `check` and `aggregate`. A client's host calls `client_steps`. Every replica applies the commit
(`protocol.replay.ReplicaState`), according to `commits`.
"""

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from zorba_ray.config import ExperimentConfig, LocalStep, MethodSpec
from zorba_ray.errors import NotFinite, ReportRejected
from zorba_ray.protocol.aggregation import refused_section
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan

if TYPE_CHECKING:
    from zorba_ray.memory import FleetMemory, Workload
    from zorba_ray.models import Batch, Manifest, TaskModel
    from zorba_ray.protocol.replay import ReplicaState
    from zorba_ray.zo import UpdateRule


class Method(MethodSpec, ABC):
    """One federated method, for one run."""

    def __init__(self, config: ExperimentConfig, rule: "UpdateRule", manifest: "Manifest") -> None:
        self._config = config
        self._rule = rule
        self._manifest = manifest

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        """The message to every participant of `round`: η, and μ if clients perturb.

        Args:
            chain: of the ledger before this round.
            active: packed active sets, only when they changed.
        """
        scale = 0.0 if self.backward else self._config.zo.perturbation_scale
        return RoundPlan(round, self.rate(round), scale, chain[:8], active)

    @abstractmethod
    def work(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, batches: Mapping[int, Sequence["Batch"]]
    ) -> Mapping[int, tuple[float, bytes]]:
        """The work of the clients of one worker in a round. θ is only read.

        Returns client -> (mean training loss, `ClientReport.scalars`). A client's result must not depend on the other
        clients.

        Args:
            batches: client -> its batches, one per local step.
        """

    @abstractmethod
    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        """Checks `report.scalars`.

        Raises:
            ReportRejected: names the reason.
        """

    @abstractmethod
    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """The commit of the accepted reports, which are sorted by client id."""

    def commit(self, plan: RoundPlan, reports: Sequence[ClientReport], refused: Sequence[int]) -> RoundCommit:
        """`aggregate`; and where f hostile clients may be among the reports, whose reports were refused.

        Args:
            refused: ascending; those who did not answer are not among them.
        """
        commit = self.aggregate(plan, reports)
        if self._config.federation.byzantine is None or not refused:
            return commit
        return msgspec.structs.replace(commit, sections={**commit.sections, **refused_section(refused)})

    def rate(self, round: int) -> float:
        """η of a round, by lr and schedule of the method's section (`steps_in`)."""
        from zorba_ray.zo import scheduled

        steps = getattr(self._config, self.steps_in)
        return scheduled(steps.schedule, steps.lr, round, self._config.rounds)

    def client_steps(
        self,
        state: "ReplicaState",
        model: "TaskModel",
        plan: RoundPlan,
        digest: bytes,
        batches: Mapping[int, Sequence["Batch"]],
    ) -> list[ClientReport]:
        """The results of `work` as reports to the plan with this digest."""
        return [
            ClientReport(plan.round, client, digest, np.float32(loss).tobytes(), self._rule.samples[client], scalars)
            for client, (loss, scalars) in self.work(state, model, plan, batches).items()
        ]

    def reported(self, report: ClientReport, state: "ReplicaState") -> np.ndarray:
        """What a report says about its client's data, float32 [k]: scalars ρ, or how far each trained weight moved.
        Attacks change it (`zorba_ray.adversaries`)."""
        return np.frombuffer(report.scalars, dtype="<f4")

    def reporting(self, report: ClientReport, values: np.ndarray, state: "ReplicaState") -> ClientReport:
        """The report with other values than those that `reported` gives."""
        return msgspec.structs.replace(report, scalars=values.astype("<f4").tobytes())

    def check(self, report: ClientReport, client: int, plan: RoundPlan, digest: bytes) -> None:
        """Checks one report before it is used. (`ReplicaState.check` later checks the size of the update.)

        Raises:
            ReportRejected: names the reason.
        """
        if report.round != plan.round:
            raise ReportRejected(f"for round {report.round}, round {plan.round} was asked for")
        if report.client != client:
            raise ReportRejected(f"from client {report.client}, client {client} was asked")
        if report.plan != digest:
            raise ReportRejected("an answer to another plan")
        if report.samples != self._rule.samples[client]:
            raise ReportRejected(f"{report.samples} examples, the client has {self._rule.samples[client]}")
        size = 4 if self._rule.noise is None else 0
        if len(report.loss) != size:
            raise ReportRejected(f"{len(report.loss)} bytes of loss, {size} expected")
        self.check_scalars(report, plan)
        if report.loss:
            require_loss(report_loss(report), self._config.task_kind == "reward")

    @classmethod
    def local_step(cls, config: ExperimentConfig) -> LocalStep:
        """The local step of this run: `keeps`, with the tensors that the run trains.

        Raises:
            ConfigError: zo.scope=auto, and no scope is chosen yet.
        """
        scope, lora = config.zo.fixed_scope, config.model.lora
        if scope != "lora" or lora is None:
            return replace(cls.keeps(config), scope=scope)
        base, memory = config.memory.frozen_format, config.memory
        step = replace(cls.keeps(config), rank=lora.rank, targets=lora.targets)
        if not cls.adapters or base == "auto":  # a method without a packed base
            return step
        return replace(step, base_format=base, stem_format=memory.stem_format)

    @classmethod
    def memory(cls, config: ExperimentConfig, manifest: "Manifest", work: "Workload") -> "FleetMemory":
        """Where the blocks of a client are kept, by its budget, and how many bytes it holds."""
        from zorba_ray.memory import placed_by_budget, resident_everywhere

        if cls.allocates:
            places = manifest.blocks * config.allocation.coverage
            share = min(-(-places // config.federation.clients), manifest.blocks)
            return placed_by_budget(manifest, config.memory, config.zo.fixed_scope, work, config.zo.matrix_rank, share)
        return resident_everywhere(manifest, config.model, config.memory.compute_dtype, work, cls.local_step(config))


def method_of(config: ExperimentConfig) -> type[Method]:
    """The class of `config.method`."""
    kind = config.spec
    assert issubclass(kind, Method), f"{kind} cannot run a round: derive it from zorba_ray.methods.Method"
    return kind


def build_method(config: ExperimentConfig, rule: "UpdateRule", manifest: "Manifest") -> Method:
    """The method of one run."""
    return method_of(config)(config, rule, manifest)


def reporters(reports: Sequence[ClientReport]) -> bytes:
    """The clients that reported, as `RoundCommit.clients`."""
    return np.array([report.client for report in reports], dtype="<u4").tobytes()


def data_shares(reports: Sequence[ClientReport]) -> list[float]:
    """p_n of each report: its share of the examples of all clients that reported."""
    total = float(sum(report.samples for report in reports))
    return [report.samples / total for report in reports]


def report_loss(report: ClientReport) -> float:
    """The mean training loss of a report."""
    return struct.unpack("<f", report.loss)[0]


# --- whether numbers can be those of any model ------------------------------------------------------------------------
#
# Losses are cross entropies: never negative, and fp32. So the scalars of a report are bounded by its own loss:
#
#     ρ = (F⁺ − F⁻) / 2μ   and   |F⁺ − F⁻| ≤ F⁺ + F⁻,   so   mean |ρ| ≤ loss / μ,
#
# the loss being the mean of (F⁺ + F⁻)/2 over the same pairs. Of one-sided differences (F⁺ − F)/μ, whose loss is the
# mean of F, this bounds the negative ones. A loss of LIMIT or more has no digit after the point left in fp32, so a
# difference of two of them says nothing; it bounds the positive ones too: |ρ| < LIMIT / μ.
# The loss of a reward, its mean with the sign turned, may be negative: there the last bound is the only one.

_SLACK = (1.01, 1e-3)
"""On the loss, relative and absolute: many times what rounding in fp32, or in a 16-bit forward pass, can do."""


def require_loss(loss: float, rewarded: bool) -> None:
    """Judges a mean training loss.

    Args:
        rewarded: it is that of a reward.

    Raises:
        NotFinite: it is not finite, or too large to be one.
        ReportRejected: it is negative, and not that of a reward.
    """
    from zorba_ray.zo import LIMIT

    if not math.isfinite(loss):
        raise NotFinite("the loss is not finite")
    if loss < -_SLACK[1] and not rewarded:
        raise ReportRejected(f"a loss of {loss:.4g}: a cross entropy is never negative")
    if abs(loss) >= LIMIT:
        raise NotFinite(f"a loss of {loss:.4g}: from {LIMIT:.0f} on fp32 has no digit after the point")


def require_scalars(
    scalars: np.ndarray, loss: float, scale: float, one_sided: bool, among: np.ndarray | None = None
) -> None:
    """Judges float32 ρ of any shape by the loss over the same pairs.

    Args:
        scale: μ.
        one_sided: as `zo.difference: forward`.
        among: as `scalars`: 1 / among of the loss is of that scalar's losses; None: all count alike.

    Raises:
        ReportRejected: no losses can give these scalars.
    """
    require_size(scalars, scale)
    values = scalars.astype(np.float64) * scale
    bound = _SLACK[0] * max(loss, 0.0) + _SLACK[1]
    sizes = np.maximum(-values, 0.0) if one_sided else np.abs(values)
    if float((sizes / (values.size if among is None else among)).sum()) > bound:
        raise ReportRejected(
            f"|ρ| up to {np.abs(scalars).max():.4g} with a loss of {loss:.4g} and μ = {scale:g}: losses cannot differ "
            "by more than they are, so these scalars are of no model"
        )


def require_size(scalars: np.ndarray, scale: float) -> None:
    """Judges finite float32 ρ of any shape whose loss is not known.

    Raises:
        ReportRejected: losses with digits after the point cannot differ by so much.
    """
    from zorba_ray.zo import LIMIT

    largest = float(np.abs(scalars).max(initial=0.0))
    if largest * scale >= LIMIT:
        raise ReportRejected(
            f"|ρ| up to {largest:.4g} with μ = {scale:g}: losses would differ by {LIMIT:.0f} or more, so these scalars "
            "are of no model"
        )
