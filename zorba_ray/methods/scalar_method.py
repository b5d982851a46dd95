"""What the methods share whose clients report one projected gradient per direction: everything but the aggregation."""

from collections.abc import Mapping, Sequence

import numpy as np

from zorba_ray.errors import ReportRejected
from zorba_ray.methods.base import Method, check_differences, reporters
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import Estimator


class ScalarMethod(Method):
    """K local steps of P differences each along the client's directions; the report is fp32 [K · P]."""

    def work(
        self, state: ReplicaState, model: TaskModel, plan: RoundPlan, batches: Mapping[int, Sequence[Batch]]
    ) -> Mapping[int, tuple[float, bytes]]:
        zo = self._config.zo
        mu, one_sided = plan.perturbation_scale, zo.difference == "forward"
        estimator = Estimator(model, state.directions, self._rule, plan.lr, mu, zo.clip, one_sided)
        reports = estimator.round(plan.round, state.active, batches)
        return {client: (loss, scalars.astype("<f4").tobytes()) for client, (scalars, loss) in reports.items()}

    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        expected = self._rule.local_steps * self._rule.directions
        if len(report.scalars) != 4 * expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of scalars, {4 * expected} expected")
        check_differences(np.frombuffer(report.scalars, dtype="<f4"), report, plan, self._config.zo)

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """Every client's scalars, as they are; ids only where some client is missing."""
        scalars = b"".join(report.scalars for report in reports)
        clients = b"" if len(reports) == len(self._rule.samples) else reporters(reports)
        return RoundCommit(plan.round, plan.lr, clients, scalars, plan.active)
