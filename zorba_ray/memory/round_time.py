"""The modelled time of a round of one client: arithmetic on assumed speeds, nothing is measured.

A round is one step (P = K = 1). Three things run at the same time, and the longest one counts: the accelerator
computes, the link copies from the host, and the host packs. A commit moves every block. So what was made of a master on
the host is made anew and copied anew, whether it is then streamed or resident: frozen blocks, and active blocks without
a master on the accelerator. That all of it overlaps is an assumption: `models.offload` makes resident blocks anew
before the first pass.

Not included: the network, the host's own updates, casting to 16 bits on the host (quicker than the link), and the
product inside the attention, 2·B·T²·H per layer.
"""

from dataclasses import dataclass

from zorba_ray.config import LocalStep
from zorba_ray.formats import Format
from zorba_ray.memory.activations import Workload
from zorba_ray.memory.inventory import Inventory
from zorba_ray.models import TensorEntry

PACKING = {"int8": 0.4e-9, "nf4": 1.0e-9}
"""Packed format -> seconds per fp32 value on one core: `python -m benchmarks speed`, on an EPYC core of 2.6 GHz."""


@dataclass(frozen=True)
class Speeds:
    """Assumed speeds of a client's machine."""

    flops: float = 140e12
    """FLOP/s in bf16."""
    link: float = 25e9
    """Bytes/s from the host."""
    memory: float = 1.0e12
    """Bytes/s of the accelerator's own memory."""
    cores: int = 16
    """Cores of the host that pack."""


ACCELERATOR = "RTX 4090"
SPEEDS = Speeds()


def pair_seconds(inventory: Inventory, work: Workload, active: frozenset[int], speeds: Speeds = SPEEDS) -> float:
    """Seconds of one forward pair of a client with these active blocks.

    A forward pass takes 2 FLOP per block parameter and token; the head costs nothing. Blocks before the first active
    one run once, all others twice. θ is read and scratch is written once per sign. A packed matrix is unpacked once,
    in an active block once per sign.
    """
    manifest, format = inventory.manifest, inventory.placement.format
    compute = link = packing = traffic = 0.0
    for block in inventory.blocks:
        tensors = manifest.by_block[block]
        held = inventory.resident and block in active
        signs = 1 if block < min(active) else 2
        compute += signs * 2 * sum(tensor.numel for tensor in tensors) * work.tokens
        frozen = [tensor for tensor in tensors if not (held and tensor.in_scope(inventory.scope))]
        link += sum(inventory.kept(tensor, format) for tensor in frozen)
        if held and inventory.placement.master == "host":
            link += inventory.moved(block)
        if format != "compute":
            packed = [tensor for tensor in frozen if tensor.packable]
            packing += PACKING[format] * sum(tensor.numel for tensor in packed)
            traffic += (2 if held else 1) * sum(_unpacking(inventory, tensor, format) for tensor in packed)
        if block in active:
            traffic += 2 * 2 * inventory.moved(block)
    longest = max(compute / speeds.flops, link / speeds.link, packing / speeds.cores)
    return longest + traffic / speeds.memory


def plain_seconds(inventory: Inventory, work: Workload, step: LocalStep, speeds: Speeds = SPEEDS) -> float:
    """Seconds of one local step with everything on the accelerator, where the server's commits are applied too.

    Backpropagation takes as long as three forward passes; with adapters two, because frozen weights need no gradients.
    Activation checkpointing adds one. The optimizer reads and writes the weights that it moves. A zeroth-order step
    takes two forward passes, and four passes that read and write all weights. A pass over adapters costs almost
    nothing. A packed base is never made anew; it is unpacked once in every pass.
    """
    manifest, size = inventory.manifest, inventory.size
    tensors = [tensor for block in inventory.blocks for tensor in manifest.by_block[block]]
    forwards = (2 if step.rank else 3) + step.checkpoint if step.backward else 2
    passes = 0 if step.rank else 2 if step.backward else 4 * 2
    traffic = passes * size * manifest.numel
    if step.base_format != "compute":
        packed = [tensor for tensor in tensors if tensor.packable]
        traffic += forwards * sum(_unpacking(inventory, tensor, step.base_format) for tensor in packed)
    return forwards * 2 * sum(tensor.numel for tensor in tensors) * work.tokens / speeds.flops + traffic / speeds.memory


def _unpacking(inventory: Inventory, tensor: TensorEntry, format: Format) -> int:
    """Bytes that are read and written to unpack a matrix once."""
    return inventory.kept(tensor, format) + inventory.copy(tensor)
