"""FeedSign: one bit per direction. Clients report the signs of ρ, and everybody walks with the majority.

Cai, Chen, Zhu: FeedSign, arXiv 2501.17610. All clients perturb all blocks along the same directions z(p); client n
reports sign ρ_{n,p} as a bit. The server commits s_p = the sign of the sum of votes, +1 where they are even, and every
replica walks −η (1/P) Σ_p s_p z(p): a commit of kind `mean`. Up: P bits, in whole bytes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from zorba_ray.config import ExperimentConfig, LocalStep
from zorba_ray.errors import ReportRejected
from zorba_ray.methods.decomfl import require_shared_directions
from zorba_ray.methods.zorba import Zorba
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan

if TYPE_CHECKING:
    from zorba_ray.models import Batch, TaskModel
    from zorba_ray.protocol.replay import ReplicaState


class FeedSign(Zorba):
    """Zorba's client step on all blocks; reports are packed signs."""

    allocates = False
    commits = "mean"
    published = {"zo.schedule": "constant", "federation.seeds": "shared"}  # noqa: RUF012
    profiles = {"FeedSign": LocalStep()}  # noqa: RUF012

    def work(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, batches: Mapping[int, Sequence["Batch"]]
    ) -> Mapping[int, tuple[float, bytes]]:
        results = super().work(state, model, plan, batches)
        return {
            client: (loss, np.packbits(np.frombuffer(scalars, dtype="<f4") > 0).tobytes())
            for client, (loss, scalars) in results.items()
        }

    def reported(self, report: ClientReport, state: "ReplicaState") -> np.ndarray:
        bits = np.unpackbits(np.frombuffer(report.scalars, dtype=np.uint8), count=self._rule.directions)
        return 2 * bits.astype(np.float32) - 1

    def reporting(self, report: ClientReport, values: np.ndarray, state: "ReplicaState") -> ClientReport:
        return msgspec.structs.replace(report, scalars=np.packbits(values > 0).tobytes())

    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        expected = -(-self._rule.directions // 8)
        if len(report.scalars) != expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of signs, {expected} expected")
        if np.unpackbits(np.frombuffer(report.scalars, dtype=np.uint8))[self._rule.directions :].any():
            raise ReportRejected("signs of directions that there are not")

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        packed = np.stack([np.frombuffer(report.scalars, dtype=np.uint8) for report in reports])
        votes = 2 * np.unpackbits(packed, axis=1, count=self._rule.directions).astype(int) - 1
        signs = np.where(votes.sum(axis=0) >= 0, 1.0, -1.0)
        return RoundCommit(plan.round, plan.lr, b"", signs.astype("<f4").tobytes(), plan.active)

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        super().refuse(config)
        require_shared_directions(config)
        if config.zo.local_steps != 1:
            raise ValueError(f"zo.local_steps={config.zo.local_steps}: feedsign takes one step; set zo.local_steps=1")
