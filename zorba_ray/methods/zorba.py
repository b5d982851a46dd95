"""ZorBA: zeroth-order federated fine-tuning with heterogeneous block activation. One round, as one reads it.

Meng, Tang, Wong: arXiv 2603.04436. The server gives every client n a set A_n of blocks that it activates (allocation/);
a client moves no block but its own, and sends nothing but scalars. In a round:

1. plan        the server tells η, μ and the position in the ledger; the sets A_n when they change
2. client step client n perturbs its active blocks along P directions z in each of K local steps, both signs on one
               minibatch, and reports   ρ_{n,k,p} = [F_n(θ + μ z) − F_n(θ − μ z)] / 2μ
3. check       the server refuses a report that no model can have given, by the client's name
4. aggregate   the commit is the raw ρ of all accepted reports; it is in the ledger before anybody applies it
5. update      every replica, the server's too, moves every block b by
               Δθ_b = −η Σ_{n ∈ N_b} w_{n,b} (1/P) Σ_{k,p} ρ_{n,k,p} z_b(n, k, p)
               over the clients N_b that hold b and reported, with weights w_{n,b} that add up to 1 for each block

z_b(n, k, p) is a pure function of seed, round, client, step and direction (directions/streams.py), so no direction is
ever sent. Step 5 is the same function on the server, on workers and in a replay of the ledger: zo/update.py.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import NotFinite, ReportRejected
from zorba_ray.methods.base import Method, report_loss, reporters, require_loss, require_scalars, require_size
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan

if TYPE_CHECKING:
    from zorba_ray.models import Batch, TaskModel
    from zorba_ray.protocol.replay import ReplicaState


class Zorba(Method):
    """The method of the paper. Directions of each client's own (`federation.seeds: per_client`) are ours; one for all
    (`shared`) are as in DeComFL."""

    allocates = True

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        """Step 1. A client whose θ is not at `chain` must not answer."""
        return RoundPlan(round, self.rate(round), self._config.zo.perturbation_scale, chain[:8], active)

    def work(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, batches: Mapping[int, Sequence["Batch"]]
    ) -> Mapping[int, tuple[float, bytes]]:
        """Step 2. The report is fp32 [K · P], ρ; the loss is the mean over all pairs."""
        from zorba_ray.zo import Estimator

        zo = self._config.zo
        mu, one_sided = plan.perturbation_scale, zo.difference == "forward"
        estimator = Estimator(model, state.directions, self._rule, plan.lr, mu, zo.clip, one_sided)
        reports = estimator.round(plan.round, state.active, batches)
        return {client: (loss, scalars.astype("<f4").tobytes()) for client, (scalars, loss) in reports.items()}

    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        """Step 3, beside what `check` asks of every report: K · P scalars, and such as the report's loss allows."""
        expected = self._rule.local_steps * self._rule.directions
        if len(report.scalars) != 4 * expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of scalars, {4 * expected} expected")
        check_differences(np.frombuffer(report.scalars, dtype="<f4"), report, plan, self._config)

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """Step 4. Client ids are left out where every client of the federation reported."""
        scalars = b"".join(report.scalars for report in reports)
        clients = b"" if len(reports) == len(self._rule.samples) else reporters(reports)
        return RoundCommit(plan.round, plan.lr, clients, scalars, plan.active)


def check_differences(scalars: np.ndarray, report: ClientReport, plan: RoundPlan, config: ExperimentConfig) -> None:
    """Judges the scalars of a report by their size, and by its loss.

    Args:
        scalars: float32, ρ, of any shape.

    Raises:
        NotFinite: a scalar or the loss is not.
        ReportRejected: a scalar is beyond `zo.clip`, to which clients clip, or no losses can give these scalars.
    """
    zo = config.zo
    if not np.isfinite(scalars).all():
        raise NotFinite("a scalar is not finite")
    if zo.clip is not None and float(np.abs(scalars).max()) > np.float32(zo.clip):
        raise ReportRejected(f"|ρ| = {np.abs(scalars).max():.4g} exceeds zo.clip = {zo.clip}")
    loss, rewarded = report_loss(report), config.task_kind == "reward"
    require_loss(loss, rewarded)
    if rewarded:
        require_size(scalars, plan.perturbation_scale)
        return
    require_scalars(scalars, loss, plan.perturbation_scale, zo.difference == "forward")


def require_one_central_difference(config: ExperimentConfig) -> None:
    """Raises ValueError: several directions a step, or one-sided differences."""
    zo = config.zo
    if zo.directions != 1 or zo.difference != "central":
        raise ValueError(
            f"zo.directions={zo.directions}, zo.difference={zo.difference}: {config.method} takes one central "
            "difference per local step; set zo.directions=1 and zo.difference=central"
        )
