"""FedMeZO: K local steps of MeZO on LoRA adapters, adapters averaged by examples.

Ling, Chen, Yao, Li, Shen: On the Convergence of Zeroth-Order Federated Tuning for Large Language Models, KDD 2024. No
seeds travel: a client's directions are its own business, here counters of (round, client, step).
"""

from collections.abc import Sequence

import torch

from zorba_ray.directions import direction_seed
from zorba_ray.methods.tensor_method import TensorMethod
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.messages import RoundPlan
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import Estimator, Overlay


class FedMeZO(TensorMethod):
    """4 d bytes each way, d of the adapters."""

    name = "fedmezo"

    def train(
        self, state: ReplicaState, model: TaskModel, plan: RoundPlan, client: int, batches: Sequence[Batch]
    ) -> tuple[dict[str, torch.Tensor], float]:
        rule, active = self._rule, state.active.of(client)
        mu, clip = plan.perturbation_scale, self._config.zo.clip
        estimator = Estimator(model, state.directions, rule, plan.lr, mu, clip)
        overlay: Overlay = {}
        total = 0.0
        for step, batch in enumerate(batches):
            seed = direction_seed(rule.seed, plan.round, rule.stream_of(client), step)
            ((scalars, loss),) = estimator.step(seed, [model.prepare(batch, active)], overlay)
            estimator.walk(seed, scalars, active, overlay)
            total += loss
        entries = self._manifest.moved(rule.scope)
        return {entry.name: overlay[entry.block, entry.slot] for entry in entries}, total / len(batches)
