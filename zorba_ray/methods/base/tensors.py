"""Base class of methods whose clients train tensors and report them: all but the local training."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zorba_ray.errors import NotFinite, ReportRejected
from zorba_ray.methods.base.method import Method, data_shares, reporters
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan

if TYPE_CHECKING:
    import torch

    from zorba_ray.models import Batch, TaskModel
    from zorba_ray.protocol.replay import ReplicaState


class TensorMethod(Method):
    """A report is fp32 [d]: all trained tensors in the manifest's order. The commit is their mean by examples. Both
    take 4 d bytes."""

    commits = "tensors"

    @abstractmethod
    def train(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, client: int, batches: Sequence["Batch"]
    ) -> tuple[dict[str, "torch.Tensor"], float]:
        """(name -> trained tensor, for each tensor in scope; mean training loss) of one client. θ is only read."""

    def work(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, batches: Mapping[int, Sequence["Batch"]]
    ) -> Mapping[int, tuple[float, bytes]]:
        results = {}
        for client, steps in batches.items():
            trained, loss = self.train(state, model, plan, client, steps)
            moved = (trained[entry.name] for entry in self._manifest.moved(self._rule.scope))
            tensors = b"".join(tensor.detach().cpu().numpy().astype("<f4").tobytes() for tensor in moved)
            results[client] = (loss, tensors)
        return results

    def reported(self, report: ClientReport, state: "ReplicaState") -> np.ndarray:
        with np.errstate(over="ignore"):
            return super().reported(report, state) - self._before(state)

    def reporting(self, report: ClientReport, values: np.ndarray, state: "ReplicaState") -> ClientReport:
        with np.errstate(over="ignore"):
            return super().reporting(report, values + self._before(state), state)

    def _before(self, state: "ReplicaState") -> np.ndarray:
        """The trained tensors at θ of the plan, float32 [d]."""
        tensors = state.movable()
        parts = [tensors[entry.name].cpu().numpy().reshape(-1) for entry in self._manifest.moved(self._rule.scope)]
        return np.concatenate(parts)

    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        expected = 4 * sum(entry.numel for entry in self._manifest.moved(self._rule.scope))
        if len(report.scalars) != expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of tensors, {expected} expected")
        if not np.isfinite(np.frombuffer(report.scalars, dtype="<f4")).all():
            raise NotFinite("a trained tensor is not finite: its training diverged")

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """Σ p_n x_n in float64, client by client, rounded once. p_n is client n's share of the examples of the clients
        that reported."""
        mean = np.zeros(len(reports[0].scalars) // 4)
        for report, share in zip(reports, data_shares(reports), strict=True):
            mean += share * np.frombuffer(report.scalars, dtype="<f4").astype(np.float64)
        with np.errstate(over="ignore"):  # an overflow of fp32 is refused before the commit
            tensors = mean.astype("<f4").tobytes()
        return RoundCommit(plan.round, plan.lr, reporters(reports), tensors, plan.active)
