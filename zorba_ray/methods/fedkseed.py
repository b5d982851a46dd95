"""FedKSeed: full-parameter tuning with a finite pool of seeds.

Qin, Chen, Qian, Ding, Li, Deng: Federated Full-Parameter Tuning of Billion-Sized Language Models with Communication
Cost under 18 Kilobytes, ICML 2024. A client takes K local steps, each one central difference along a direction of the
pool drawn by chance, and walks with it; it reports (seed, ρ) of every step. The server adds up, seed by seed, and every
replica is θ0 − η Σ_j A_j z_j, however many rounds it missed.

The published program draws by a generator that all clients may share, sums in half precision, and rebuilds by one pass
per seed: here draws are counters of (client, round), sums are float64, and θ is one fused pass from θ0.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from zorba_ray.directions import pool_draws, pool_seeds
from zorba_ray.errors import ReportRejected
from zorba_ray.methods.base import Method
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import StepSizes, step_scalars, walk

_STEP = np.dtype([("seed", "<u4"), ("scalar", "<f4")])


class FedKSeed(Method):
    """Reports are (seed, ρ) pairs, 8 K bytes; commits what the round adds to each accumulator, 4 bytes a seed."""

    name = "fedkseed"
    commits = "pool"

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        zo = self._config.zo
        return RoundPlan(round, zo.lr, zo.perturbation_scale, chain[:8], active)

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
        rule, active = self._rule, state.active[client]
        sizes = StepSizes(plan.lr, plan.perturbation_scale, self._config.zo.clip)
        drawn = self._drawn(client, plan.round)
        seeds = pool_seeds(rule.seed, self._config.fedkseed.pool)[drawn].tolist()
        steps = np.zeros(len(batches), dtype=_STEP)
        steps["seed"] = drawn
        overlay: dict[tuple[int, int], torch.Tensor] = {}
        total = 0.0
        for step, (batch, seed) in enumerate(zip(batches, seeds, strict=True)):
            prepared = model.prepare(batch, active)
            ((scalars, loss),) = step_scalars(model, rule, sizes, seed, [prepared], overlay)
            steps["scalar"][step] = scalars[0]
            total += loss
            if not np.isfinite(scalars[0]):
                break  # the driver refuses the report by name
            if step + 1 < len(batches):
                walk(model, state.directions, rule, seed, plan.lr, scalars, active, overlay)
        mean = np.float32(total / len(batches)).tobytes()
        return ClientReport(plan.round, client, digest, mean, rule.samples[client], steps.tobytes())

    def check(self, report: ClientReport, client: int, plan: RoundPlan, digest: bytes) -> None:
        super().check(report, client, plan, digest)
        if not np.array_equal(_steps(report)["seed"], self._drawn(client, plan.round)):
            raise ReportRejected("its seeds are not those that it had to draw")

    def check_scalars(self, report: ClientReport) -> None:
        expected = _STEP.itemsize * self._rule.local_steps
        if len(report.scalars) != expected:
            raise ReportRejected(f"{len(report.scalars)} bytes of seeds and scalars, {expected} expected")
        if not np.isfinite(_steps(report)["scalar"]).all():
            raise ReportRejected("a scalar is not finite")

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """Σ_n p_n Σ ρ per seed, with p_n by examples over the clients that reported; client by client, step by step."""
        total = float(sum(report.samples for report in reports))
        sums = np.zeros(self._config.fedkseed.pool)
        for report in reports:
            steps = _steps(report)
            np.add.at(sums, steps["seed"], report.samples / total * steps["scalar"].astype(np.float64))
        clients = np.array([report.client for report in reports], dtype="<u4").tobytes()
        return RoundCommit(plan.round, plan.lr, clients, sums.astype("<f4").tobytes(), plan.active)

    def _drawn(self, client: int, round: int) -> np.ndarray:
        """Seeds of a client's steps in a round, int64 [K]."""
        return pool_draws(self._rule.seed, client, round, self._rule.local_steps, self._config.fedkseed.pool)


def _steps(report: ClientReport) -> np.ndarray:
    return np.frombuffer(report.scalars, dtype=_STEP)
