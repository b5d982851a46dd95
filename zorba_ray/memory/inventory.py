"""The formula for the memory of a zorba client's accelerator, part by part (algorithm.md §6). The formula is ours.

s is the number of bytes of the compute dtype. Tensors with one axis always take 4 bytes per entry.
"""

from dataclasses import dataclass

import numpy as np

from zorba_ray.config import MemoryConfig
from zorba_ray.memory.activations import Activations, Workload, architecture
from zorba_ray.memory.footprint import PARTS, ClientMemory, Footprint
from zorba_ray.models import Manifest, Placement, Scope, TensorEntry

COMPUTE_BYTES = {"bf16": 2, "fp32": 4}


@dataclass(frozen=True)
class Inventory:
    """The weights on the accelerator of one client, by placement.

    - stem: embeddings, final norm and head, in the compute dtype.
    - frozen block: a copy in the compute dtype; 0 if it is streamed from the host.
    - active block: its tensors in scope as fp32 masters (4 bytes), or in the compute dtype if masters are on the host.
      Its other tensors are as in a frozen block. 0 if no block is resident.
    - scratch: the largest leaf module (weight and bias) in scope, in the compute dtype, because θ ± μz exists for one
      leaf at a time. With directions of rank r a matrix [m, n] needs its factors instead, r (m + n) in the compute
      dtype, and r columns of the doubled batch. If its fp32 master is on the accelerator, also a copy in the compute
      dtype.
    - copies: if the model writes answers, a copy of every active block's tensors in scope, in the compute dtype, until
      the last token.
    - stream buffers: two buffers of the largest block, if blocks are streamed.
    """

    manifest: Manifest
    placement: Placement
    scope: Scope
    size: int
    """s."""
    resident: bool = True
    """Whether active blocks stay on the accelerator. False: they are streamed, too, as in ZO2."""

    def copy(self, tensor: TensorEntry) -> int:
        """Bytes of a copy in the compute dtype; vectors are fp32."""
        return tensor.numel * (self.size if len(tensor.shape) >= 2 else 4)

    def stem(self) -> int:
        """Bytes of all tensors outside the blocks."""
        return sum(self.copy(tensor) for tensor in self.manifest.tensors if tensor.block not in self.blocks)

    def whole(self, block: int) -> int:
        """Bytes of a block's copy in the compute dtype."""
        return sum(self.copy(tensor) for tensor in self.manifest.by_block[block])

    def moved(self, block: int) -> int:
        """Bytes of a copy of the block's tensors in scope, in the compute dtype."""
        return sum(self.copy(tensor) for tensor in self.manifest.scoped(block, self.scope))

    def active(self, block: int) -> int:
        """Bytes of an active block's tensors in scope."""
        if not self.resident:
            return 0
        if self.placement.master == "host":
            return self.moved(block)
        return sum(4 * tensor.numel for tensor in self.manifest.scoped(block, self.scope))

    def scratch(self, work: Workload, rank: int) -> int:
        """Bytes of the scratch part, for the largest leaf module in scope."""
        rows = 2 * work.tokens
        cast = self.placement.master == "device" and self.size < 4
        leaves: dict[tuple[int, str], int] = {}
        for block in self.blocks:
            for tensor in self.manifest.scoped(block, self.scope):
                leaf, needed = (block, tensor.name.rpartition(".")[0]), self.copy(tensor)
                if rank and len(tensor.shape) >= 2:
                    first = tensor.shape[0]
                    slim = rank * (first + tensor.numel // first + rows) * self.size
                    needed = slim + (needed if cast else 0)
                leaves[leaf] = leaves.get(leaf, 0) + needed
        return max(leaves.values())

    def copies(self, block: int, work: Workload) -> int:
        """What an active block's perturbed copy holds while answers are written."""
        return self.moved(block) if work.written else 0

    def frozen(self, active: frozenset[int]) -> int:
        """Bytes of the frozen blocks, and of the tensors out of scope in active blocks."""
        if self.placement.frozen == "host":
            return 0
        return sum(self.whole(b) - (self.moved(b) if b in active else 0) for b in self.blocks)

    def streamed(self, active: frozenset[int]) -> int:
        """Bytes that are copied from the host in one pass over the blocks."""
        if self.placement.frozen == "device":
            return 0
        return sum(self.whole(b) - (self.moved(b) if self.resident and b in active else 0) for b in self.blocks)

    def buffers(self) -> int:
        """Bytes of two buffers of the largest block."""
        return 2 * max(self.whole(block) for block in self.blocks)

    @property
    def blocks(self) -> range:
        return range(self.manifest.blocks)


def zorba_footprint(inventory: Inventory, work: Workload, active: frozenset[int]) -> Footprint:
    """The bytes of a client at the peak of a dense forward pair with these active blocks."""
    behind = any(block not in active for block in range(min(active), inventory.manifest.blocks))
    moved = sum(inventory.active(block) for block in active)
    parts = _base(inventory, work, active, behind, len(active) > 1, rank=0) | {"active": moved}
    parts["scratch"] += sum(inventory.copies(block, work) for block in active)
    if not inventory.streamed(active):
        parts["stream buffers"] = 0
    return Footprint({part: parts.get(part, 0) for part in PARTS}, "modelled")


def client_memory(
    manifest: Manifest, config: MemoryConfig, scope: Scope, work: Workload, rank: int = 0
) -> ClientMemory:
    """The memory of a client with this placement, by formula, for any active set.

    Scratch, buffers and activations are those of the worst active set. So the sum is exact or an upper bound for every
    set.

    Args:
        config: `frozen` and `master` must not be `auto`.
        rank: r of low-rank directions; 0: dense.
    """
    placement = Placement(config.frozen, config.master)  # pyright: ignore[reportArgumentType]
    inventory = Inventory(manifest, placement, scope, COMPUTE_BYTES[config.compute_dtype])
    streamed, several = placement.frozen == "host", manifest.blocks > 1
    extra = [
        inventory.active(block) + inventory.copies(block, work) - (0 if streamed else inventory.moved(block))
        for block in inventory.blocks
    ]
    return ClientMemory(_base(inventory, work, frozenset(), several, several, rank), np.array(extra, dtype=np.int64))


def _base(
    inventory: Inventory, work: Workload, active: frozenset[int], doubled: bool, several: bool, rank: int
) -> dict[str, int]:
    """Bytes by part, without those of active blocks; `doubled` and `several` as in `Activations.peak`."""
    live = Activations(architecture(inventory.manifest, work.hidden), work, inventory.size)
    activations, logits = live.decoding(inventory.manifest.blocks) if work.written else live.peak(doubled, several)
    return {
        "stem": inventory.stem(),
        "frozen": inventory.frozen(active),
        "scratch": inventory.scratch(work, rank),
        "stream buffers": inventory.buffers() if inventory.placement.frozen == "host" else 0,
        "activations": activations,
        "logits": logits,
    }
