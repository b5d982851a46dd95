"""Seconds of one round of one client, by arithmetic alone: `modelled`, and never a measurement.

One step on one batch (for zeroth-order methods one forward pair, P = K = 1). Compute and copies over the link overlap
fully, so the larger of the two counts; passes over weights that move them in place do not overlap. Work on the host
(its commits, its Adam) and the network are left out, as is attention's own product, 2·B·T²·H per layer.
"""

from dataclasses import dataclass

from zorba_ray.memory.inventory import Inventory
from zorba_ray.memory.method import ZORBA, Method
from zorba_ray.memory.workload import Workload


@dataclass(frozen=True)
class Accelerator:
    """Usable rates of a device, as assumed."""

    name: str
    flops: float
    """FLOP/s in bf16."""
    link: float
    """Bytes/s between host and accelerator."""
    memory: float
    """Bytes/s of its own memory."""


RTX_4090 = Accelerator("RTX 4090", 140e12, 25e9, 1.0e12)


def round_seconds(
    held: Inventory, work: Workload, method: Method, active: frozenset[int], device: Accelerator = RTX_4090
) -> float:
    """Seconds of a round, the larger of compute and link, and passes over weights.

    - A forward takes 2 FLOP per block parameter and token; label words make the head free. A pair of zorba runs blocks
      below its first active one once, all others twice; each block that is not resident crosses the link once. With the
      master on the host its active blocks' copies are refreshed once a round.
    - MeZO, DeComFL and FedKSeed: two forwards, and four passes that read and write all weights; on adapters alone the
      passes are next to nothing.
    - Backpropagation: three forwards' worth, LoRA two (no gradients of frozen weights); the optimizer reads and writes
      what it moves, once.
    """
    blocks = range(held.manifest.blocks)
    sizes = [sum(tensor.numel for tensor in held.manifest.by_block[block]) for block in blocks]
    tokens = work.batch_size * work.length
    forward = 2 * sum(sizes) * tokens / device.flops
    if method == ZORBA:
        first = min(active)
        compute = sum(2 * size * tokens * (1 if b < first else 2) for b, size in zip(blocks, sizes, strict=True))
        streamed = 0
        if held.policy.frozen == "host":
            streamed += sum(held.whole(b) - (held.moved(b) if _stays(held, b, active) else 0) for b in blocks)
        if held.policy.resident and held.policy.master == "host":
            streamed += sum(held.moved(b) for b in active)
        drawn = sum(2 * 2 * held.moved(b) for b in active)  # two signs: read θ, write scratch
        return max(compute / device.flops, streamed / device.link) + drawn / device.memory
    everything = held.size * held.manifest.numel
    if method.first_order:
        return forward * (2 if method.rank else 3) + (0 if method.rank else 2 * everything / device.memory)
    if method.rank:
        return 2 * forward
    return 2 * forward + 4 * 2 * everything / device.memory


def _stays(held: Inventory, block: int, active: frozenset[int]) -> bool:
    return block in active and held.policy.resident
