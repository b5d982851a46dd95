"""What a federated method is: four pure functions around one round; no I/O, no clock, no process.

The driver calls `plan`, `check` and `aggregate`; a client's host calls `client_steps`; everybody applies the commit
(`protocol.replay.ReplicaState`), which the class's `commits` says how to read.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from zorba_ray.config import ExperimentConfig, ZOConfig
from zorba_ray.errors import NotFinite, ReportRejected
from zorba_ray.methods.plausible import require_loss, require_scalars
from zorba_ray.models import Batch, Manifest, TaskModel
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import UpdateRule, scheduled


class Method(ABC):
    """One federated method, for one run."""

    name: ClassVar[str]
    """As `config.method` has it."""
    commits: ClassVar[str] = "scalars"
    """`LedgerHeader.commits`."""

    def __init__(self, config: ExperimentConfig, rule: UpdateRule, manifest: Manifest) -> None:
        self._config = config
        self._rule = rule
        self._manifest = manifest

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        """What every participant of `round` is told; `active` only when the active sets changed."""
        zo = self._config.zo
        lr = scheduled(zo.schedule, zo.lr, round, self._config.rounds)
        return RoundPlan(round, lr, zo.perturbation_scale, chain[:8], active)

    def client_steps(
        self,
        state: ReplicaState,
        model: TaskModel,
        plan: RoundPlan,
        digest: bytes,
        batches: Mapping[int, Sequence[Batch]],
    ) -> list[ClientReport]:
        """The reports of some clients of one worker, each on its own batches; each is the one that it gives alone."""
        return [
            ClientReport(plan.round, client, digest, np.float32(loss).tobytes(), self._rule.samples[client], scalars)
            for client, (loss, scalars) in self.work(state, model, plan, batches).items()
        ]

    @abstractmethod
    def work(
        self, state: ReplicaState, model: TaskModel, plan: RoundPlan, batches: Mapping[int, Sequence[Batch]]
    ) -> Mapping[int, tuple[float, bytes]]:
        """Client -> (mean training loss, `ClientReport.scalars`); θ is read only."""

    @abstractmethod
    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """The commit of the accepted reports, which are sorted by client id."""

    def check(self, report: ClientReport, client: int, plan: RoundPlan, digest: bytes) -> None:
        """Judges a report by itself before it is used; whether θ can hold what follows, `ReplicaState.check` asks.

        Raises:
            ReportRejected: with the reason.
        """
        if report.round != plan.round:
            raise ReportRejected(f"for round {report.round}, asked was round {plan.round}")
        if report.client != client:
            raise ReportRejected(f"from client {report.client}, asked was client {client}")
        if report.plan != digest:
            raise ReportRejected("answers another plan")
        if report.samples != self._rule.samples[client]:
            raise ReportRejected(f"{report.samples} examples, the client joined with {self._rule.samples[client]}")
        if len(report.loss) != 4:
            raise ReportRejected(f"{len(report.loss)} bytes of loss, 4 expected")
        self.check_scalars(report, plan)
        require_loss(report_loss(report))

    @abstractmethod
    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        """Judges `report.scalars`.

        Raises:
            ReportRejected: with the reason.
        """


def check_size(scalars: np.ndarray, clip: float | None) -> None:
    """Judges float32 ρ of any shape.

    Raises:
        NotFinite: one of them is not.
        ReportRejected: one of them is beyond `zo.clip`, to which clients clip.
    """
    if not np.isfinite(scalars).all():
        raise NotFinite("a scalar is not finite")
    if clip is not None and float(np.abs(scalars).max()) > np.float32(clip):
        raise ReportRejected(f"|ρ| = {np.abs(scalars).max():.4g} exceeds zo.clip = {clip}")


def check_differences(scalars: np.ndarray, report: ClientReport, plan: RoundPlan, zo: ZOConfig) -> None:
    """`check_size` of float32 ρ, then whether they can come of the report's own loss.

    Raises:
        ReportRejected: with the reason.
    """
    check_size(scalars, zo.clip)
    loss = report_loss(report)
    require_loss(loss)
    require_scalars(scalars, loss, plan.perturbation_scale, zo.difference == "forward")


def reporters(reports: Sequence[ClientReport]) -> bytes:
    """`RoundCommit.clients`."""
    return np.array([report.client for report in reports], dtype="<u4").tobytes()


def data_shares(reports: Sequence[ClientReport]) -> list[float]:
    """p_n of each report, by examples over the clients that reported."""
    total = float(sum(report.samples for report in reports))
    return [report.samples / total for report in reports]


def report_loss(report: ClientReport) -> float:
    """The mean training loss of a report."""
    return struct.unpack("<f", report.loss)[0]
