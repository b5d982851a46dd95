"""ZorBA: zeroth-order federated fine-tuning with heterogeneous block activation.

Meng, Tang, Wong: arXiv 2603.04436. Round as in algorithm.md §3: every client perturbs its own active blocks (one
minibatch, both signs), sends ρ = [F(θ + μz) − F(θ − μz)] / 2μ, and every replica moves block b by
−η Σ_n w_{n,b} (1/P) Σ_{k,p} ρ_{n,k,p} z_b(n, k, p) over the clients n that hold b.
"""

import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from zorba_ray.config import ZOConfig
from zorba_ray.errors import ReportRejected
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import Share, StepSizes, UpdateRule, estimate, learning_rate


class Zorba:
    """`Method` of the paper; seeds: per_client is ours, shared is as DeComFL."""

    name = "zorba"

    def __init__(self, zo: ZOConfig, rounds: int, rule: UpdateRule) -> None:
        self._zo = zo
        self._rounds = rounds
        self._rule = rule

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        lr = learning_rate(self._zo.schedule, self._zo.lr, round, self._rounds)
        return RoundPlan(round, lr, self._zo.perturbation_scale, chain[:8], active)

    def client_steps(
        self,
        state: ReplicaState,
        model: TaskModel,
        plan: RoundPlan,
        digest: bytes,
        batches: Mapping[int, Sequence[Batch]],
    ) -> list[ClientReport]:
        shares = [Share(client, state.active[client], own) for client, own in batches.items()]
        sizes = StepSizes(plan.lr, plan.perturbation_scale, self._zo.clip)
        found = estimate(model, state.directions, self._rule, plan.round, sizes, shares)
        return [
            ClientReport(
                plan.round,
                share.client,
                digest,
                np.float32(own.loss).tobytes(),
                self._rule.samples[share.client],
                own.scalars.astype("<f4").tobytes(),
            )
            for share, own in zip(shares, found, strict=True)
        ]

    def check(self, report: ClientReport, client: int, plan: RoundPlan, digest: bytes) -> None:
        if report.round != plan.round:
            raise ReportRejected(f"for round {report.round}, asked was round {plan.round}")
        if report.client != client:
            raise ReportRejected(f"from client {report.client}, asked was client {client}")
        if report.plan != digest:
            raise ReportRejected("answers another plan")
        if report.samples != self._rule.samples[client]:
            raise ReportRejected(f"{report.samples} examples, the client joined with {self._rule.samples[client]}")
        expected = self._rule.local_steps * self._rule.directions
        if len(report.scalars) != 4 * expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of scalars, {4 * expected} expected")
        if len(report.loss) != 4:
            raise ReportRejected(f"{len(report.loss)} bytes of loss, 4 expected")
        scalars = np.frombuffer(report.scalars, dtype="<f4")
        if not np.isfinite(scalars).all():
            raise ReportRejected("a scalar is not finite")
        if not math.isfinite(report_loss(report)):
            raise ReportRejected("the loss is not finite")
        if self._zo.clip is not None and float(np.abs(scalars).max()) > np.float32(self._zo.clip):
            raise ReportRejected(f"|ρ| = {np.abs(scalars).max():.4g} exceeds zo.clip = {self._zo.clip}")

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        clients = np.array([report.client for report in reports], dtype="<u4").tobytes()
        return RoundCommit(plan.round, plan.lr, clients, b"".join(report.scalars for report in reports), plan.active)


def report_loss(report: ClientReport) -> float:
    """The mean training loss of a report."""
    return struct.unpack("<f", report.loss)[0]
