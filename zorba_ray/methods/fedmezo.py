"""FedMeZO: clients take K local steps of MeZO on LoRA adapters, and the server averages the adapters by examples.

Ling, Chen, Yao, Li, Shen: On the Convergence of Zeroth-Order Federated Tuning for Large Language Models, KDD 2024.
Seeds are not sent: nobody else needs a client's directions, which follow from (round, client, step).
Defaults: FederatedScope, branch FedMeZO.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zorba_ray.config import ExperimentConfig, LocalStep
from zorba_ray.methods.base import TensorMethod
from zorba_ray.methods.zorba import require_one_central_difference
from zorba_ray.protocol.messages import RoundPlan

if TYPE_CHECKING:
    import torch

    from zorba_ray.models import Batch, TaskModel
    from zorba_ray.protocol.replay import ReplicaState


class FedMeZO(TensorMethod):
    """4 d bytes up and 4 d bytes down, for d parameters of the adapters."""

    adapters = True
    published = {  # noqa: RUF012
        "zo.lr": 1e-5,
        "zo.schedule": "constant",
        "zo.distribution": "gaussian",
        "zo.local_steps": 30,
        "zo.scope": "lora",
        "model.lora": {"rank": 128, "alpha": 256.0, "targets": "query_value"},
        "data.batch_size": 1,
    }
    profiles = {"FedMeZO: MeZO on LoRA r 128": LocalStep(rank=128, targets="query_value")}  # noqa: RUF012

    def train(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, client: int, batches: Sequence["Batch"]
    ) -> tuple[dict[str, "torch.Tensor"], float]:
        from zorba_ray.directions import direction_seed
        from zorba_ray.zo import Estimator

        rule, active = self._rule, state.active.of(client)
        mu, clip = plan.perturbation_scale, self._config.zo.clip
        estimator = Estimator(model, state.directions, rule, plan.lr, mu, clip)
        overlay: dict[tuple[int, int], torch.Tensor] = {}
        total = 0.0
        for step, batch in enumerate(batches):
            seed = direction_seed(rule.seed, plan.round, rule.stream_of(client), step)
            ((scalars, loss),) = estimator.step(seed, [model.prepare(batch, active)], overlay)
            estimator.walk(seed, scalars, active, overlay)
            total += loss
        entries = self._manifest.moved(rule.scope)
        return {entry.name: overlay[entry.block, entry.slot] for entry in entries}, total / len(batches)

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        super().refuse(config)
        require_one_central_difference(config)
