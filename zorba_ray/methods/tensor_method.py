"""What the methods share whose clients train tensors and report them: everything but the local training."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from zorba_ray.errors import ReportRejected
from zorba_ray.methods.base import Method
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.replay import ReplicaState


class TensorMethod(Method):
    """A report is fp32 [d]: all trained tensors in the manifest's order; the commit is their mean by examples."""

    commits = "tensors"

    @abstractmethod
    def train(
        self, state: ReplicaState, model: TaskModel, plan: RoundPlan, client: int, batches: Sequence[Batch]
    ) -> tuple[dict[str, torch.Tensor], float]:
        """(name -> trained tensor, for each tensor in scope; mean training loss) of one client; θ is read only."""

    def client_steps(
        self,
        state: ReplicaState,
        model: TaskModel,
        plan: RoundPlan,
        digest: bytes,
        batches: Mapping[int, Sequence[Batch]],
    ) -> list[ClientReport]:
        return [self._client(state, model, plan, digest, client, own) for client, own in batches.items()]

    def _client(
        self,
        state: ReplicaState,
        model: TaskModel,
        plan: RoundPlan,
        digest: bytes,
        client: int,
        batches: Sequence[Batch],
    ) -> ClientReport:
        trained, loss = self.train(state, model, plan, client, batches)
        names = [entry.name for entry in self._manifest.moved(self._rule.scope)]
        tensors = b"".join(trained[name].detach().cpu().numpy().astype("<f4").tobytes() for name in names)
        return ClientReport(
            plan.round, client, digest, np.float32(loss).tobytes(), self._rule.samples[client], tensors
        )  # fmt: skip

    def check_scalars(self, report: ClientReport) -> None:
        expected = 4 * sum(entry.numel for entry in self._manifest.moved(self._rule.scope))
        if len(report.scalars) != expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of tensors, {expected} expected")
        if not np.isfinite(np.frombuffer(report.scalars, dtype="<f4")).all():
            raise ReportRejected("a trained tensor is not finite: its training diverged")

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """Σ p_n x_n with p_n by examples over the clients that reported, in float64, client by client, rounded once."""
        total = float(sum(report.samples for report in reports))
        mean = np.zeros(len(reports[0].scalars) // 4)
        for report in reports:
            mean += report.samples / total * np.frombuffer(report.scalars, dtype="<f4")
        clients = np.array([report.client for report in reports], dtype="<u4").tobytes()
        return RoundCommit(plan.round, plan.lr, clients, mean.astype("<f4").tobytes(), plan.active)
