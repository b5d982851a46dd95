"""DeComFL: dimension-free communication by shared seeds and averaged scalars.

Li, Ying, Liu, Dong, Yang: Achieving Dimension-Free Communication in Federated Learning via Zeroth-Order Optimization,
ICLR 2025. All clients perturb all blocks along the same P directions of each of K local steps; the server averages
their scalars, clients equally, and every replica walks −η (1/P) Σ_{k,p} ρ̄_{k,p} z(k, p).
"""

from collections.abc import Sequence

import numpy as np

from zorba_ray.methods.scalar_method import ScalarMethod
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan


class DeComFL(ScalarMethod):
    """Commits carry the mean scalars alone, whoever reported, as published: 4 K P bytes."""

    name = "decomfl"
    commits = "mean"

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        own = np.stack([np.frombuffer(report.scalars, dtype="<f4") for report in reports]).astype(np.float64)
        mean = np.cumsum(own, axis=0)[-1] / len(reports)  # left to right, as everywhere
        return RoundCommit(plan.round, plan.lr, b"", mean.astype("<f4").tobytes(), plan.active)
