"""Bytes that a zorba client's accelerator holds, part by part (algorithm.md §6). The model is ours; its numbers are
`modelled`.

Symbols: s bytes of the compute dtype; 1-D tensors always take 4.
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
    """The weights of one client by where its blocks live.

    - stem: embeddings, final norm and head in compute dtype.
    - frozen block: compute-dtype copy, or 0 where it is streamed from the host.
    - active block: its tensors in scope as fp32 master (4 bytes) or, with the master on the host, in compute dtype; the
      rest of it as in a frozen block. Where no block is resident, 0.
    - scratch: the largest leaf module (weight and bias) in scope, in compute dtype: θ ± μz exists one leaf at a time.
      With directions of rank r a matrix [m, n] needs its factors instead, r (m + n) in compute dtype, and r columns of
      the doubled batch; beside an fp32 master on the accelerator a compute-dtype copy too.
    - copies: where answers are written, a compute-dtype copy of every active block's tensors in scope, until the last
      token.
    - stream buffers: two buffers of the largest block where blocks are streamed.
    """

    manifest: Manifest
    placement: Placement
    scope: Scope
    size: int
    """s."""
    resident: bool = True
    """Whether active blocks stay on the accelerator; False streams them too, as ZO2 does."""

    def copy(self, tensor: TensorEntry) -> int:
        """Bytes in compute dtype; vectors are fp32."""
        return tensor.numel * (self.size if len(tensor.shape) >= 2 else 4)

    def stem(self) -> int:
        """All tensors outside the blocks."""
        return sum(self.copy(tensor) for tensor in self.manifest.tensors if tensor.block not in self.blocks)

    def whole(self, block: int) -> int:
        """A block's compute-dtype copy."""
        return sum(self.copy(tensor) for tensor in self.manifest.by_block[block])

    def moved(self, block: int) -> int:
        """The compute-dtype copy of a block's tensors in scope."""
        return sum(self.copy(tensor) for tensor in self.manifest.scoped(block, self.scope))

    def active(self, block: int) -> int:
        """What an active block's tensors in scope hold."""
        if not self.resident:
            return 0
        if self.placement.master == "host":
            return self.moved(block)
        return sum(4 * tensor.numel for tensor in self.manifest.scoped(block, self.scope))

    def scratch(self, work: Workload, rank: int) -> int:
        """The largest leaf in scope."""
        rows = 2 * work.batch_size * work.length
        cast = self.placement.master == "device" and self.size < 4
        leaves: dict[tuple[int, str], int] = {}
        for block in self.blocks:
            for tensor in self.manifest.scoped(block, self.scope):
                leaf, whole = (block, tensor.name.rpartition(".")[0]), self.copy(tensor)
                if rank and len(tensor.shape) >= 2:
                    first = tensor.shape[0]
                    slim = rank * (first + tensor.numel // first + rows) * self.size
                    whole = slim + (whole if cast else 0)
                leaves[leaf] = leaves.get(leaf, 0) + whole
        return max(leaves.values())

    def copies(self, block: int, work: Workload) -> int:
        """What an active block's perturbed copy holds while answers are written."""
        return self.moved(block) if work.written else 0

    def frozen(self, active: frozenset[int]) -> int:
        """Frozen blocks, and what is out of scope in active ones."""
        if self.placement.frozen == "host":
            return 0
        return sum(self.whole(b) - (self.moved(b) if b in active else 0) for b in self.blocks)

    def streamed(self, active: frozenset[int]) -> int:
        """Bytes of the blocks that come from the host in one pass over them."""
        if self.placement.frozen == "device":
            return 0
        return sum(self.whole(b) - (self.moved(b) if self.resident and b in active else 0) for b in self.blocks)

    def buffers(self) -> int:
        """Two buffers of the largest block."""
        return 2 * max(self.whole(block) for block in self.blocks)

    @property
    def blocks(self) -> range:
        return range(self.manifest.blocks)


def zorba_footprint(held: Inventory, work: Workload, active: frozenset[int]) -> Footprint:
    """What a client holds at the peak of a dense forward pair with these active blocks."""
    behind = any(block not in active for block in range(min(active), held.manifest.blocks))
    moved = sum(held.active(block) for block in active)
    parts = _base(held, work, active, behind, len(active) > 1, rank=0) | {"active": moved}
    parts["scratch"] += sum(held.copies(block, work) for block in active)
    if not held.streamed(active):
        parts["stream buffers"] = 0
    return Footprint({part: parts.get(part, 0) for part in PARTS}, "modelled")


def client_memory(
    manifest: Manifest, config: MemoryConfig, scope: Scope, work: Workload, rank: int = 0
) -> ClientMemory:
    """The memory model of one client; equal for all clients of a run, whose budgets and active sets differ.

    Scratch, buffers and activations are those of the worst active set, so the sum is exact or an upper bound for
    every A.

    Args:
        config: frozen and master name places, not `auto`.
        rank: r of low-rank directions; 0: dense.
    """
    placement = Placement(config.frozen, config.master)  # pyright: ignore[reportArgumentType]
    held = Inventory(manifest, placement, scope, COMPUTE_BYTES[config.compute_dtype])
    streamed, several = placement.frozen == "host", manifest.blocks > 1
    extra = [
        held.active(block) + held.copies(block, work) - (0 if streamed else held.moved(block)) for block in held.blocks
    ]
    return ClientMemory(_base(held, work, frozenset(), several, several, rank), np.array(extra, dtype=np.int64))


def _base(
    held: Inventory, work: Workload, active: frozenset[int], doubled: bool, several: bool, rank: int
) -> dict[str, int]:
    """Bytes by part, what active blocks hold apart; `doubled` and `several` as of `Activations.peak`."""
    live = Activations(architecture(held.manifest, work.hidden), work, held.size)
    activations, logits = live.decoding(held.manifest.blocks) if work.written else live.peak(doubled, several)
    return {
        "stem": held.stem(),
        "frozen": held.frozen(active),
        "scratch": held.scratch(work, rank),
        "stream buffers": held.buffers() if held.placement.frozen == "host" else 0,
        "activations": activations,
        "logits": logits,
    }
