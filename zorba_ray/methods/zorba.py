"""ZorBA: zeroth-order federated fine-tuning with heterogeneous block activation. One round, step by step.

Meng, Tang, Wong: arXiv 2603.04436. The server gives every client n a set A_n of active blocks (allocation/). A client
moves only its active blocks, and sends only scalars. A round has five steps:

1. plan        the server sends η, μ and the position in the ledger, and the sets A_n when they change
2. client step client n perturbs its active blocks along P directions z in each of K local steps, with both signs on one
               minibatch, and reports   ρ_{n,k,p} = [F_n(θ + μ z) − F_n(θ − μ z)] / 2μ
3. check       the server refuses a report that no model can give, and names the client
4. aggregate   the commit is the raw ρ of all accepted reports; it is written to the ledger before it is applied
5. update      every replica, also the server's, moves every block b by
               Δθ_b = −η Σ_{n ∈ N_b} w_{n,b} (1/P) Σ_{k,p} ρ_{n,k,p} z_b(n, k, p)
               N_b: the clients that hold b and reported; their weights w_{n,b} add up to 1 for each block

z_b(n, k, p) is a pure function of seed, round, client, step and direction (directions/streams.py), so directions are
never sent. Step 5 is the same function on the server, on workers and in a replay of the ledger: zo/update.py.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import MessageError, NotFinite, ReportRejected
from zorba_ray.methods.base import Method, report_loss, reporters, require_loss, require_scalars, require_size
from zorba_ray.protocol.example_groups import compact, counts_of, counts_section
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.tags import tags_section

if TYPE_CHECKING:
    from zorba_ray.models import Batch, TaskModel
    from zorba_ray.protocol.replay import ReplicaState


class Zorba(Method):
    """The method of the paper. Different directions for each client (`federation.seeds: per_client`) are our choice.
    The same ones for all clients (`shared`) are as in DeComFL."""

    allocates = True
    scalar_reports = True

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        """Step 1. A client whose replica is not at `chain` must not answer."""
        return RoundPlan(round, self.rate(round), self._config.zo.perturbation_scale, chain[:8], active)

    def work(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, batches: Mapping[int, Sequence["Batch"]]
    ) -> Mapping[int, tuple[float, bytes]]:
        """Step 2. The report is fp32 [K · P], ρ; the loss is the mean over all pairs. With directions per example,
        step k has P · G_k scalars, with G_k the groups of its batch."""
        from zorba_ray.zo import Estimator

        zo = self._config.zo
        mu, one_sided = plan.perturbation_scale, zo.difference == "forward"
        estimator = Estimator(model, state.directions, self._rule, plan.lr, mu, zo.clip, one_sided, zo.shared_by)
        reports = estimator.round(plan.round, state.active, batches)
        return {
            client: (loss, compact(scalars, self._counts(batches[client]), self._rule.directions))
            for client, (scalars, loss) in reports.items()
        }

    def client_steps(
        self,
        state: "ReplicaState",
        model: "TaskModel",
        plan: RoundPlan,
        digest: bytes,
        batches: Mapping[int, Sequence["Batch"]],
    ) -> list[ClientReport]:
        reports = super().client_steps(state, model, plan, digest, batches)
        sections = (counts_section(self._counts(batches[report.client]), self._full) for report in reports)
        return [msgspec.structs.replace(r, sections=own) for r, own in zip(reports, sections, strict=True)]

    @property
    def _full(self) -> int:
        """G, groups with scalars of their own in a full batch; 1 where a batch has one."""
        return max(1, self._rule.groups)

    def _counts(self, batches: Sequence["Batch"]) -> np.ndarray:
        """G_k of each step, int64 [K]."""
        size = self._config.zo.shared_by
        return np.array([-(-len(batch) // size) if size else 1 for batch in batches])

    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        """Step 3, in addition to `check`: there must be P · G_k scalars of each step, of sizes that the report's loss
        allows."""
        steps, pairs = self._rule.local_steps, self._rule.directions
        try:
            counts = counts_of(report, steps, self._full)
        except MessageError as error:
            raise ReportRejected(str(error)) from error
        if len(report.scalars) != 4 * pairs * int(counts.sum()):
            raise ReportRejected(f"{len(report.scalars)} bytes of scalars, {4 * pairs * int(counts.sum())} expected")
        scalars = np.frombuffer(report.scalars, dtype="<f4")
        if self._rule.noise is not None:
            self._rule.noise.require(scalars)
            return
        check_differences(scalars, report, plan, self._config, np.repeat(steps * pairs * counts, pairs * counts))

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """Step 4. Client ids are left out if every client of the federation reported."""
        scalars = b"".join(report.scalars for report in reports)
        clients = b"" if len(reports) == len(self._rule.samples) else reporters(reports)
        counts = np.concatenate([counts_of(report, self._rule.local_steps, self._full) for report in reports])
        sections = counts_section(counts, self._full) | tags_section(reports)
        return RoundCommit(plan.round, plan.lr, clients, scalars, plan.active, sections=sections)


def check_differences(
    scalars: np.ndarray,
    report: ClientReport,
    plan: RoundPlan,
    config: ExperimentConfig,
    among: np.ndarray | None = None,
) -> None:
    """Checks the scalars of a report by `zo.clip` and by the report's loss.

    Args:
        scalars: float32, ρ, of any shape.
        among: as of `require_scalars`.

    Raises:
        NotFinite: a scalar or the loss is not finite.
        ReportRejected: a scalar is larger than `zo.clip`, or no losses can give these scalars.
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
    require_scalars(scalars, loss, plan.perturbation_scale, zo.difference == "forward", among)


def require_one_central_difference(config: ExperimentConfig) -> None:
    """Raises ValueError: several directions per step, or forward differences."""
    zo = config.zo
    if zo.directions != 1 or zo.difference != "central":
        raise ValueError(
            f"zo.directions={zo.directions}, zo.difference={zo.difference}: {config.method} takes one central "
            "difference per local step; set zo.directions=1 and zo.difference=central"
        )
