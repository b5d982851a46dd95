"""DeComFL: dimension-free communication by shared seeds and averaged scalars.

Li, Ying, Liu, Dong, Yang: Achieving Dimension-Free Communication in Federated Learning via Zeroth-Order Optimization,
ICLR 2025. All clients perturb all blocks along the same P directions in each of K local steps. The server averages
their scalars with equal weights, and every replica moves by −η (1/P) Σ_{k,p} ρ̄_{k,p} z(k, p).
Defaults: README and run scripts of the authors, OPT-125M.
"""

from collections.abc import Sequence

import numpy as np

from zorba_ray.config import ExperimentConfig, LocalStep
from zorba_ray.methods.zorba import Zorba
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan


class DeComFL(Zorba):
    """Zorba's client step, on all blocks. A commit has only the mean scalars: 4 K P bytes for any number of clients."""

    allocates = False
    commits = "mean"
    scalar_reports = True
    published = {  # noqa: RUF012
        "zo.lr": 5e-6,
        "zo.schedule": "constant",
        "zo.distribution": "gaussian",
        "zo.directions": 5,
        "zo.difference": "forward",
        "federation.seeds": "shared",
    }
    profiles = {  # noqa: RUF012
        "DeComFL, stored z": LocalStep(stored=True),
        "DeComFL, per tensor": LocalStep(),  # z is drawn again; the copy of the received model is in host memory
    }

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        return self.commit(plan, reports, ())

    def commit(self, plan: RoundPlan, reports: Sequence[ClientReport], refused: Sequence[int]) -> RoundCommit:
        """The mean of the scalars, or what `federation.aggregate` makes of them; 0 where there are too few."""
        from zorba_ray.zo.aggregation import clipped_to_spread, combined

        scalars = np.stack([np.frombuffer(report.scalars, dtype="<f4") for report in reports]).astype(np.float64)
        federation = self._config.federation
        if federation.spread:
            scalars = clipped_to_spread(scalars, federation.spread, np.ones(scalars.shape, dtype=bool))
        if federation.byzantine:
            rows = combined(federation.aggregate, max(0, federation.byzantine - len(refused)), scalars)
            mean = rows[0] if len(rows) else np.zeros(scalars.shape[1])
        else:
            mean = np.cumsum(scalars, axis=0)[-1] / len(reports)  # summed left to right, the same on every machine
        return RoundCommit(plan.round, plan.lr, b"", mean.astype("<f4").tobytes(), plan.active)

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        super().refuse(config)
        require_shared_directions(config)


def require_shared_directions(config: ExperimentConfig) -> None:
    """Raises ValueError: clients have different directions, so that their scalars cannot be averaged."""
    if config.federation.seeds != "shared":
        raise ValueError(
            f"federation.seeds={config.federation.seeds}: {config.method} averages scalars, which needs "
            "federation.seeds=shared"
        )
