"""Local training by backpropagation, for FedAvg and FedIT."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from zorba_ray.config import ExperimentConfig, LocalStep, settings_of
from zorba_ray.config.base import StrictModel
from zorba_ray.methods.base.tensors import TensorMethod
from zorba_ray.protocol.messages import RoundPlan

if TYPE_CHECKING:
    import torch

    from zorba_ray.models import Batch, TaskModel
    from zorba_ray.protocol.replay import ReplicaState


class BackpropSettings(StrictModel):
    """`method_settings` of a method that backpropagates."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimizer of a client's local steps. Its state is new in every round, because clients keep no state."""
    lr: float = Field(default=1e-3, gt=0)
    """η, the learning rate, in round 1. `schedule` lowers it in later rounds."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How η falls to 0 over `rounds`."""
    local_steps: int = Field(default=10, ge=1)
    """K, the number of minibatches that a client trains on before it reports."""


class BackpropMethod(TensorMethod):
    """K steps of the optimizer on copies of the tensors in scope."""

    backward = True
    steps_in = "method_settings"
    Settings = BackpropSettings

    def train(
        self, state: "ReplicaState", model: "TaskModel", plan: RoundPlan, client: int, batches: Sequence["Batch"]
    ) -> tuple[dict[str, "torch.Tensor"], float]:
        import torch

        settings = settings_of(self._config, BackpropSettings)
        tensors = {
            entry.name: model.master(entry).view(entry.shape).requires_grad_(True)
            for entry in self._manifest.moved(self._rule.scope)
        }
        kind = torch.optim.SGD if settings.optimizer == "sgd" else torch.optim.AdamW
        optimizer = kind(list(tensors.values()), lr=plan.lr, weight_decay=0.0)
        total = 0.0
        for batch in batches:
            loss = model.training_loss(batch, tensors)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        return tensors, total / len(batches)

    @classmethod
    def keeps(cls, config: ExperimentConfig) -> LocalStep:
        return LocalStep(backward=True, moments=settings_of(config, BackpropSettings).optimizer == "adamw")
