"""The formula for the memory of a zorba client's accelerator, part by part (algorithm.md §6). The formula is ours.

s is the number of bytes of the compute dtype. Tensors with one axis always take 4 bytes per entry.
"""

from dataclasses import dataclass

import numpy as np

from zorba_ray.config import MemoryConfig
from zorba_ray.formats import Format
from zorba_ray.memory.activations import Activations, Workload, architecture
from zorba_ray.memory.footprint import PARTS, ClientMemory, Footprint
from zorba_ray.models import Manifest, Placement, Scope, TensorEntry

COMPUTE_BYTES = {"bf16": 2, "fp32": 4}


@dataclass(frozen=True)
class Inventory:
    """The weights on the accelerator of one client, by placement.

    - stem: embeddings, final norm and head, in the compute dtype; the matrices packed if `stem_format` says so.
    - frozen block: a copy in the compute dtype, with matrices packed in the placement's format; 0 if it is streamed
      from the host.
    - active block: its tensors in scope as fp32 masters (4 bytes), or in the compute dtype if masters are on the host.
      Its other tensors are as in a frozen block. 0 if no block is resident.
    - scratch: what the neediest leaf module (weight and bias) needs, because θ ± μz exists for one leaf at a time. In
      an active block these are its tensors in scope, perturbed, in the compute dtype. A packed matrix, in an active or
      a frozen block, is unpacked into the same buffer, in the compute dtype. With directions of rank r a matrix [m, n]
      in scope needs its factors instead, r (m + n) in the compute dtype, and r columns of the doubled batch. If its
      fp32 master is on the accelerator, also a copy in the compute dtype. With directions for G groups of examples a
      tensor needs their signs in fp32, G (m + n) or G n. Vectors are needed for each token of the doubled batch too, in
      fp32, two times: an upper bound.
    - copies: if the model writes answers, a copy of every active block's tensors in scope, in the compute dtype, until
      the last token.
    - stream buffers: two buffers of the largest frozen block, if blocks are streamed.
    """

    manifest: Manifest
    placement: Placement
    scope: Scope
    size: int
    """s."""
    resident: bool = True
    """Whether active blocks stay on the accelerator. False: they are streamed, too, as in ZO2; not in a packed format,
    because a perturbed block needs the compute dtype."""
    stem_format: Format = "compute"

    def copy(self, tensor: TensorEntry) -> int:
        """Bytes of a copy in the compute dtype; vectors are fp32."""
        return tensor.numel * (self.size if len(tensor.shape) >= 2 else 4)

    def kept(self, tensor: TensorEntry, format: Format) -> int:
        """Bytes of a tensor in a format. What cannot be packed is a copy in the compute dtype."""
        return tensor.kept(format, self.copy(tensor))

    def stem(self) -> int:
        """Bytes of all tensors outside the blocks."""
        outside = (tensor for tensor in self.manifest.tensors if tensor.block not in self.blocks)
        return sum(self.kept(tensor, self.stem_format) for tensor in outside)

    def whole(self, block: int) -> int:
        """Bytes of a frozen block."""
        return sum(self.kept(tensor, self.placement.format) for tensor in self.manifest.by_block[block])

    def rest(self, block: int) -> int:
        """Bytes of the tensors of a block that are out of scope, as they are kept in a frozen or active block."""
        scoped = self.manifest.scoped(block, self.scope)
        return self.whole(block) - sum(self.kept(tensor, self.placement.format) for tensor in scoped)

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
        """Bytes of the scratch part, for the neediest leaf module of a frozen or active block."""
        rows = 2 * work.tokens
        cast = self.placement.master == "device" and self.size < 4
        packed = self.placement.format != "compute"
        frozen: dict[tuple[int, str], int] = {}
        active: dict[tuple[int, str], int] = {}
        for tensor in (tensor for block in self.blocks for tensor in self.manifest.by_block[block]):
            leaf, copy = (tensor.block, tensor.name.rpartition(".")[0]), self.copy(tensor)
            unpacked = needed = copy if packed and tensor.packable else 0
            if tensor.in_scope(self.scope):
                needed = copy
                if rank and len(tensor.shape) >= 2:
                    first = tensor.shape[0]
                    needed = rank * (first + tensor.numel // first + rows) * self.size + (copy if cast else 0)
                if work.groups:
                    needed = self._steps(tensor, work, rows) + (copy if cast and len(tensor.shape) >= 2 else 0)
            frozen[leaf] = frozen.get(leaf, 0) + unpacked
            active[leaf] = active.get(leaf, 0) + needed
        sizes = max(frozen.values()), max(active.values())
        return sum(sizes) if rank else max(sizes)  # factors are not in the buffer into which matrices are unpacked

    def _steps(self, tensor: TensorEntry, work: Workload, rows: int) -> int:
        """Bytes of the steps of all groups, and of those of each of `rows` tokens."""
        if len(tensor.shape) == 1:
            return 4 * tensor.numel * (work.groups + 2 * rows)
        return 4 * work.groups * (tensor.shape[0] + tensor.numel // tensor.shape[0]) + rows * self.size

    def copies(self, block: int, work: Workload) -> int:
        """What an active block's perturbed copy holds while answers are written."""
        return self.moved(block) if work.written else 0

    def frozen(self, active: frozenset[int]) -> int:
        """Bytes of the frozen blocks, and of the tensors out of scope in active blocks."""
        if self.placement.frozen == "host":
            return 0
        return sum(self.rest(b) if b in active else self.whole(b) for b in self.blocks)

    def streamed(self, active: frozenset[int]) -> int:
        """Bytes that are copied from the host in one pass over the blocks."""
        if self.placement.frozen == "device":
            return 0
        return sum(self.rest(b) if self.resident and b in active else self.whole(b) for b in self.blocks)

    def buffers(self) -> int:
        """Bytes of two buffers of the largest frozen block."""
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
        config: `frozen`, `master` and `frozen_format` must not be `auto`.
        rank: r of low-rank directions; 0: dense.
    """
    placement = Placement(config.frozen, config.master, config.frozen_format)  # pyright: ignore[reportArgumentType]
    size = COMPUTE_BYTES[config.compute_dtype]
    inventory = Inventory(manifest, placement, scope, size, stem_format=config.stem_format)
    streamed, several = placement.frozen == "host", manifest.blocks > 1
    extra = [
        inventory.active(block)
        + inventory.copies(block, work)
        - (0 if streamed else inventory.whole(block) - inventory.rest(block))
        for block in inventory.blocks
    ]
    # A matrix of a few values takes more bytes packed than not. The sum is then a bound from above.
    extra = [max(0, size) for size in extra]
    return ClientMemory(_base(inventory, work, frozenset(), several, several, rank), np.array(extra, dtype=np.int64))


def _base(
    inventory: Inventory, work: Workload, active: frozenset[int], doubled: bool, several: bool, rank: int
) -> dict[str, int]:
    """Bytes by part, without those of active blocks; `doubled` and `several` as in `Activations.peak`."""
    packed_head = inventory.stem_format != "compute"
    live = Activations(architecture(inventory.manifest, work.hidden), work, inventory.size, packed_head)
    activations, logits = live.decoding(inventory.manifest.blocks) if work.written else live.peak(doubled, several)
    return {
        "stem": inventory.stem(),
        "frozen": inventory.frozen(active),
        "scratch": inventory.scratch(work, rank),
        "stream buffers": inventory.buffers() if inventory.placement.frozen == "host" else 0,
        "activations": activations,
        "logits": logits,
    }
