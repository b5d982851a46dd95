"""What a federated method is: four pure functions around one round; no I/O, no clock, no process.

The driver calls `plan`, `check` and `aggregate`; a client's host calls `client_steps`; everybody applies the commit
(`protocol.replay.ReplicaState`), which the class's `commits` says how to read.
"""

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ReportRejected
from zorba_ray.models import Batch, Manifest, TaskModel
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import UpdateRule


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

    @abstractmethod
    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        """What every participant of `round` is told; `active` only when the active sets changed."""

    @abstractmethod
    def client_steps(
        self,
        state: ReplicaState,
        model: TaskModel,
        plan: RoundPlan,
        digest: bytes,
        batches: Mapping[int, Sequence[Batch]],
    ) -> list[ClientReport]:
        """The work of some clients of one worker, each on its own batches; θ is read only.

        Each report is the one that the client gives alone.
        """

    @abstractmethod
    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """The commit of the accepted reports, which are sorted by client id."""

    def check(self, report: ClientReport, client: int, plan: RoundPlan, digest: bytes) -> None:
        """Judges a report before it is used.

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
        self.check_scalars(report)
        if not math.isfinite(report_loss(report)):
            raise ReportRejected("the loss is not finite")

    @abstractmethod
    def check_scalars(self, report: ClientReport) -> None:
        """Judges `report.scalars`.

        Raises:
            ReportRejected: with the reason.
        """


def report_loss(report: ClientReport) -> float:
    """The mean training loss of a report."""
    return struct.unpack("<f", report.loss)[0]
