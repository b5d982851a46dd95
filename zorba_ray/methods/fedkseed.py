"""FedKSeed: full-parameter tuning with a finite pool of seeds.

Qin, Chen, Qian, Ding, Li, Deng: Federated Full-Parameter Tuning of Billion-Sized Language Models with Communication
Cost under 18 Kilobytes, ICML 2024. A client takes K local steps. Each step is one central difference along a random
direction of the pool, and moves the client's θ. The client reports (seed, ρ) of every step. The server adds up the
scalars of each seed in A_j, and every replica is θ0 − η Σ_j A_j z_j, no matter how many rounds it missed.

Differences from the published program: seeds are drawn from counters of (client, round), not from a generator that
clients may share; sums are float64, not half precision; θ is rebuilt from θ0 in one pass, not in one pass per seed.
Defaults: FederatedScope, branch FedKSeed.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from pydantic import Field

from zorba_ray.config import ExperimentConfig, LocalStep, settings_of
from zorba_ray.config.base import StrictModel
from zorba_ray.errors import ReportRejected
from zorba_ray.methods.base import Method, data_shares, reporters
from zorba_ray.methods.zorba import check_differences, require_one_central_difference
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan

if TYPE_CHECKING:
    from zorba_ray.models import Batch, TaskModel
    from zorba_ray.protocol.replay import ReplicaState

_STEP = np.dtype([("seed", "<u4"), ("scalar", "<f4")])


class PoolSettings(StrictModel):
    """`method_settings` of FedKSeed."""

    pool: int = Field(default=4096, ge=1, le=10**6)
    """Number of candidate seeds. Every direction of a run is that of one of them."""


class FedKSeed(Method):
    """A report is K pairs (seed, ρ): 8 K bytes. A commit is what the round adds to each accumulator: 4 bytes per
    seed."""

    commits = "pool"
    one_rate = True
    Settings = PoolSettings
    published = {  # noqa: RUF012
        "zo.lr": 3e-7,
        "zo.schedule": "constant",
        "zo.distribution": "gaussian",
        "zo.perturbation_scale": 5e-4,
        "zo.local_steps": 200,
        "data.batch_size": 1,
    }
    profiles = {"FedKSeed, 4096 seeds": LocalStep(seeds=4096)}  # noqa: RUF012

    @classmethod
    def pool(cls, config: ExperimentConfig) -> int:
        return settings_of(config, PoolSettings).pool

    def work(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, batches: Mapping[int, Sequence["Batch"]]
    ) -> Mapping[int, tuple[float, bytes]]:
        from zorba_ray.zo import Estimator

        mu, clip = plan.perturbation_scale, self._config.zo.clip
        estimator = Estimator(model, state.directions, self._rule, plan.lr, mu, clip)
        results = {}
        for client, minibatches in batches.items():
            drawn = self._drawn(client, plan.round)
            scalars, loss = estimator.local_steps(state.active.of(client), minibatches, self._seeds[drawn].tolist())
            steps = np.zeros(len(minibatches), dtype=_STEP)
            steps["seed"], steps["scalar"] = drawn, scalars[:, 0]
            results[client] = (loss, steps.tobytes())
        return results

    def reported(self, report: ClientReport, state: "ReplicaState") -> np.ndarray:
        return _steps(report)["scalar"]

    def reporting(self, report: ClientReport, values: np.ndarray, state: "ReplicaState") -> ClientReport:
        steps = _steps(report).copy()
        steps["scalar"] = values
        return msgspec.structs.replace(report, scalars=steps.tobytes())

    def check(self, report: ClientReport, client: int, plan: RoundPlan, digest: bytes) -> None:
        super().check(report, client, plan, digest)
        if not np.array_equal(_steps(report)["seed"], self._drawn(client, plan.round)):
            raise ReportRejected("its seeds are not those of this client and round")

    def check_scalars(self, report: ClientReport, plan: RoundPlan) -> None:
        expected = _STEP.itemsize * self._rule.local_steps
        if len(report.scalars) != expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of seeds and scalars, {expected} expected")
        check_differences(_steps(report)["scalar"], report, plan, self._config)

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """Σ_n p_n Σ ρ for each seed, summed client by client and step by step. p_n is client n's share of the examples
        of the clients that reported."""
        sums = np.zeros(self.pool(self._config))
        for report, share in zip(reports, data_shares(reports), strict=True):
            steps = _steps(report)
            np.add.at(sums, steps["seed"], share * steps["scalar"].astype(np.float64))
        with np.errstate(over="ignore"):  # an overflow of fp32 is refused before the commit
            added = sums.astype("<f4").tobytes()
        return RoundCommit(plan.round, plan.lr, reporters(reports), added, plan.active)

    @functools.cached_property
    def _seeds(self) -> np.ndarray:
        """The pool, uint64 [pool]."""
        from zorba_ray.directions import pool_seeds

        return pool_seeds(self._rule.seed, self.pool(self._config))

    def _drawn(self, client: int, round: int) -> np.ndarray:
        """Seeds of a client's steps in a round, int64 [K]."""
        from zorba_ray.directions import pool_draws

        return pool_draws(self._rule.seed, client, round, self._rule.local_steps, self.pool(self._config))

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        super().refuse(config)
        if config.zo.schedule != "constant":
            raise ValueError(
                f"zo.schedule={config.zo.schedule}: fedkseed sums the scalars of a seed over all rounds, so all rounds "
                "need the same rate; set zo.schedule=constant"
            )
        require_one_central_difference(config)

    @classmethod
    def keeps(cls, config: ExperimentConfig) -> "LocalStep":
        """MeZO's step, and one fp32 accumulator per candidate seed."""

        return LocalStep(seeds=cls.pool(config))


def _steps(report: ClientReport) -> np.ndarray:
    return np.frombuffer(report.scalars, dtype=_STEP)
