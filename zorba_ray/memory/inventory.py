"""Bytes that a zorba client's accelerator holds, part by part (algorithm.md §6). The model is ours; its numbers are
`modelled`.

Symbols: s bytes of the compute dtype, 1-D tensors always 4; h = B·T·H·s, the hidden states of one sign.
"""

from dataclasses import dataclass

import numpy as np

from zorba_ray.config import MemoryConfig
from zorba_ray.memory.activations import Activations
from zorba_ray.memory.architecture import architecture
from zorba_ray.memory.footprint import Footprint, Source, footprint
from zorba_ray.memory.policy import Policy
from zorba_ray.memory.workload import Workload
from zorba_ray.models import Manifest, Scope, TensorEntry

COMPUTE_BYTES = {"bf16": 2, "fp32": 4}


@dataclass(frozen=True)
class ClientMemory:
    """Bytes for any active set A: base + Σ_{b ∈ A} active_extra[b]."""

    parts: dict[str, int]
    """Bytes of the base, by part: stem, frozen (all blocks), scratch, stream buffers, activations, logits."""
    active_extra: np.ndarray
    """int64 [L]: what block b costs more when active than when frozen."""
    source: Source = "modelled"

    @property
    def base(self) -> int:
        """Bytes with every block frozen."""
        return sum(self.parts.values())

    def bytes_of(self, active: frozenset[int]) -> int:
        """Bytes of a client that activates `active`."""
        return self.base + int(sum(int(self.active_extra[block]) for block in active))


@dataclass(frozen=True)
class Inventory:
    """The weights of one zorba client by `policy`.

    - stem: embeddings, final norm and head in compute dtype.
    - frozen block: compute-dtype copy, or 0 where it is streamed from the host.
    - active block: its tensors in scope as fp32 master (4 bytes) or, with the master on the host, in compute dtype; the
      rest of it as in a frozen block. Where no block is resident, 0.
    - scratch: the largest leaf module (weight and bias) in scope, in compute dtype: θ ± μz exists one leaf at a time.
      With directions of rank r a matrix [m, n] needs its factors instead, r (m + n) in compute dtype, and r columns of
      the doubled batch; beside an fp32 master on the accelerator a compute-dtype copy too.
    - stream buffers: two buffers of the largest block where blocks are streamed.
    """

    manifest: Manifest
    policy: Policy
    scope: Scope
    size: int
    """s."""

    def copy(self, tensor: TensorEntry) -> int:
        """Bytes in compute dtype; vectors are fp32."""
        return tensor.numel * (self.size if len(tensor.shape) >= 2 else 4)

    def stem(self) -> int:
        """All tensors outside the blocks."""
        return sum(self.copy(tensor) for tensor in self.manifest.tensors if tensor.block not in self._blocks)

    def whole(self, block: int) -> int:
        """A block's compute-dtype copy."""
        return sum(self.copy(tensor) for tensor in self.manifest.by_block[block])

    def moved(self, block: int) -> int:
        """The compute-dtype copy of a block's tensors in scope."""
        return sum(self.copy(tensor) for tensor in self.manifest.scoped(block, self.scope))

    def active(self, block: int) -> int:
        """What an active block's tensors in scope hold."""
        if not self.policy.resident:
            return 0
        if self.policy.master == "host":
            return self.moved(block)
        return sum(4 * tensor.numel for tensor in self.manifest.scoped(block, self.scope))

    def scratch(self, work: Workload, rank: int) -> int:
        """The largest leaf in scope."""
        rows = 2 * work.batch_size * work.length
        cast = self.policy.master == "device" and self.size < 4
        leaves: dict[tuple[int, str], int] = {}
        for block in self._blocks:
            for tensor in self.manifest.scoped(block, self.scope):
                leaf, whole = (block, tensor.name.rpartition(".")[0]), self.copy(tensor)
                if rank and len(tensor.shape) >= 2:
                    first = tensor.shape[0]
                    slim = rank * (first + tensor.numel // first + rows) * self.size
                    whole = slim + (whole if cast else 0)
                leaves[leaf] = leaves.get(leaf, 0) + whole
        return max(leaves.values())

    def frozen(self, active: frozenset[int]) -> int:
        """Frozen blocks, and what is out of scope in active ones."""
        if self.policy.frozen == "host":
            return 0
        return sum(self.whole(b) - (self.moved(b) if b in active else 0) for b in self._blocks)

    def streams(self, active: frozenset[int]) -> bool:
        """Whether anything comes from the host."""
        everything = all(b in active and self.moved(b) == self.whole(b) for b in self._blocks)
        return self.policy.frozen == "host" and (not everything or not self.policy.resident)

    def buffers(self) -> int:
        """Two buffers of the largest block."""
        return 2 * max(self.whole(block) for block in self._blocks)

    @property
    def _blocks(self) -> range:
        return range(self.manifest.blocks)


def zorba_footprint(
    manifest: Manifest, compute: str, policy: Policy, scope: Scope, work: Workload, active: frozenset[int]
) -> Footprint:
    """What a client holds at the peak of a dense forward pair with these active blocks."""
    held = Inventory(manifest, policy, scope, COMPUTE_BYTES[compute])
    live = Activations(architecture(manifest, work.hidden), work, held.size)
    behind = any(block not in active for block in range(min(active), manifest.blocks))
    body, head = pair_peaks(live, doubled=behind, several=len(active) > 1)
    logits = live.logits(backward=False)
    return footprint(
        "modelled",
        stem=held.stem(),
        frozen=held.frozen(active),
        active=sum(held.active(block) for block in active),
        scratch=held.scratch(work, 0),
        stream_buffers=held.buffers() if held.streams(active) else 0,
        activations=round(head if head + logits > body else body),
        logits=round(logits) if head + logits > body else 0,
    )


def pair_peaks(live: Activations, doubled: bool, several: bool) -> tuple[float, float]:
    """Bytes of activations at the peak of the blocks and the final norm, and of the head; logits apart.

    The kept prefix [B] stands beside the pair [2B] all along, and once an active block has run, so do its two halves.
    `doubled`: a frozen block lies behind the first active one. `several`: more than one block is active.

    - a frozen block behind the first active one runs on [2B];
    - an active block runs on [B], the second sign beside the result of the first;
    - the final norm (or that of BERT's embeddings) runs on [2B] beside what made the doubled batch's first state.
    """
    block = live.forward(mixed=True)
    active = 1 + 2 + 2 * several + 1 + block
    frozen = 1 + 2 + 2 + 2 * block if doubled else 0.0
    norm = 1 + 2 + 2 + 2 * live.shape.stem + 2 * live.norm(mixed=True)
    head = live.hidden * (1 + 2) + live.inputs(3, 3)
    return max(live.hidden * max(active, frozen) + live.inputs(3, 3), live.hidden * norm + live.inputs(3, 5)), head


def client_memory(
    manifest: Manifest, config: MemoryConfig, scope: Scope, work: Workload, rank: int = 0
) -> ClientMemory:
    """The memory model of one client; equal for all clients of a run, whose budgets and active sets differ.

    Scratch, buffers and activations are those of the worst active set, so the sum is exact or an upper bound for
    every A.
    """
    held = Inventory(manifest, Policy.of(config), scope, COMPUTE_BYTES[config.compute_dtype])
    live = Activations(architecture(manifest, work.hidden), work, held.size)
    resident = 0 if held.policy.frozen == "host" else 1
    extra = [held.active(block) - resident * held.moved(block) for block in range(manifest.blocks)]
    body, head = pair_peaks(live, doubled=manifest.blocks > 1, several=manifest.blocks > 1)
    logits = round(live.logits(backward=False))
    parts = {
        "stem": held.stem(),
        "frozen": held.frozen(frozenset()),
        "scratch": held.scratch(work, rank),
        "stream buffers": held.buffers() if held.policy.frozen == "host" else 0,
        "activations": round(head if head + logits > body else body),
        "logits": logits if head + logits > body else 0,
    }
    return ClientMemory(parts, np.array(extra, dtype=np.int64))
