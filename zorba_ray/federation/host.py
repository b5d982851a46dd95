"""A process that serves clients from one replica: the part that every backend shares."""

from collections.abc import Mapping

import torch

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import BatchOrder, TokenTable
from zorba_ray.errors import StaleReplica
from zorba_ray.methods import Method
from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.codec import decode, encode, frame_digest
from zorba_ray.protocol.messages import RoundPlan
from zorba_ray.protocol.replay import ReplicaState


class ClientHost:
    """Answers plans for its clients; their examples stay here."""

    def __init__(
        self,
        config: ExperimentConfig,
        method: Method,
        model: TaskModel,
        state: ReplicaState,
        shards: Mapping[int, TokenTable],
    ) -> None:
        """`shards`: client id -> its training examples."""
        self.state = state
        self._method = method
        self._model = model
        self._local_steps = config.zo.local_steps
        self._pad = int(model.loaded.tokenizer.pad_token_id)
        self._shards = dict(shards)
        self._orders = {
            client: BatchOrder(config.seed, client, shard.lengths, config.data.batch_size)
            for client, shard in self._shards.items()
        }

    def answer(self, frame: bytes, client: int) -> bytes:
        """The report's frame of `client` for a plan's frame. A pure function of plan, θ and the client's data.

        Raises:
            StaleReplica: this replica is not where the plan expects it.
        """
        plan = decode(frame, RoundPlan)
        if plan.parent != self.state.chain[:8]:
            raise StaleReplica(f"replica at round {self.state.round} was given the plan of round {plan.round}")
        if plan.active is not None:
            self.state.set_active(plan.active)
        first = (plan.round - 1) * self._local_steps
        batches = [self._batch(client, first + step) for step in range(self._local_steps)]
        return encode(self._method.client_step(self.state, self._model, client, plan, frame_digest(frame), batches))

    def _batch(self, client: int, step: int) -> Batch:
        ids, mask, labels = self._shards[client].collate(self._orders[client].rows(step), self._pad)
        return Batch(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(labels)).to(self._model.device)
