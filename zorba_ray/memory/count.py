"""What a client holds, counted: its real step runs on tensors without memory, and every live one is added up."""

import gc
from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zorba_ray.config import ModelConfig
from zorba_ray.memory.footprint import PARTS, Footprint
from zorba_ray.memory.heads import head_loss
from zorba_ray.memory.method import ZORBA, Method
from zorba_ray.memory.paired_client import PairedClient
from zorba_ray.memory.plain_client import PlainClient
from zorba_ray.memory.policy import POLICIES, Policy
from zorba_ray.memory.storage_counter import StorageCounter
from zorba_ray.memory.workload import Workload
from zorba_ray.models import Batch, LoadedModel, Scope
from zorba_ray.models.shapes import skeleton

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Client:
    """What is asked about: a method, and for zorba where its blocks live and which of them are active."""

    method: Method = ZORBA
    policy: Policy = POLICIES[0]
    active: frozenset[int] = frozenset({0})
    scope: Scope = "all"


def counted(model: ModelConfig, dtype: str, work: Workload, client: Client) -> Footprint:
    """Bytes by part at the peak of a step. Nothing is allocated; rows have no padding.

    Raises:
        ModelError: as `skeleton`.
    """
    with FakeTensorMode(), StorageCounter() as counter:
        run = prepared(skeleton(model, DTYPES[dtype]), work, client, counter)
        gc.collect()
        counter.restart()
        run()
        assert not counter.peak.keys() - set(PARTS), counter.peak
        return Footprint({part: counter.peak.get(part, 0) for part in PARTS}, "counted")


def prepared(loaded: LoadedModel, work: Workload, client: Client, counter: StorageCounter, device: str = "cpu"):
    """A function that takes one step of the client."""
    ids = torch.zeros(work.batch_size, work.length, dtype=torch.long, device=device)
    batch = Batch(ids, torch.ones_like(ids), torch.zeros(work.batch_size, dtype=torch.long, device=device))
    inputs = {"input_ids": batch.ids_BT, "attention_mask": batch.mask_BT}
    if client.method == ZORBA:
        paired = PairedClient(loaded, client.policy, client.scope, client.active, counter)
        head = head_loss(loaded, work, batch)

        def pair() -> None:
            with torch.no_grad():
                halves = paired.pair(batch, inputs).chunk(2)
                with counter.part("logits"):
                    for half in halves:
                        head(half)

        return pair
    head = head_loss(loaded, work, batch)

    def loss() -> torch.Tensor:
        hidden = loaded.backbone(**inputs, **({"use_cache": False} if loaded.causal else {}))[0]
        with counter.part("logits"):
            return head(hidden)

    return PlainClient(loaded, client.method, loss, unread(loaded, work), counter).step


def unread(loaded: LoadedModel, work: Workload) -> frozenset[str]:
    """Names of the parameters that a loss on label words does not read: an output layer that is not tied, and
    BERT's pooler."""
    if not loaded.causal:
        return frozenset(name for name, _ in loaded.network.named_parameters() if name.startswith("pooler."))
    output = loaded.network.get_output_embeddings()
    if work.positions > 1:
        return frozenset()
    inputs = {id(parameter) for parameter in loaded.backbone.parameters()}
    own = {id(parameter) for parameter in output.parameters()} - inputs
    return frozenset(name for name, parameter in loaded.network.named_parameters() if id(parameter) in own)
