"""Local training by backpropagation, for the methods that do it."""

from collections.abc import Sequence

import torch

from zorba_ray.methods.tensor_method import TensorMethod
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.messages import RoundPlan
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import scheduled


class FirstOrderMethod(TensorMethod):
    """K steps of `first_order.optimizer` on copies of the tensors in scope; its state begins anew in every round."""

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        own = self._config.first_order
        lr = scheduled(own.schedule, own.lr, round, self._config.rounds)
        return RoundPlan(round, lr, 0.0, chain[:8], active)

    def train(
        self, state: ReplicaState, model: TaskModel, plan: RoundPlan, client: int, batches: Sequence[Batch]
    ) -> tuple[dict[str, torch.Tensor], float]:
        settings = self._config.first_order
        tensors = {
            entry.name: model.master(entry).view(entry.shape).requires_grad_(True)
            for entry in self._manifest.moved(self._rule.scope)
        }
        kind = torch.optim.SGD if settings.optimizer == "sgd" else torch.optim.AdamW
        optimizer = kind(list(tensors.values()), lr=plan.lr, weight_decay=settings.weight_decay)
        total = 0.0
        for batch in batches:
            loss = model.training_loss(batch, tensors)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        return tensors, total / len(batches)
