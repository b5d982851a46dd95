"""Bytes that a client's accelerator holds, part by part (algorithm.md §6). The model is ours; its numbers are
`modelled`.

Symbols: s bytes of the compute dtype, 1-D tensors always 4; B batch rows, T tokens, H hidden width, I widest layer
inside a block, C columns of the logits.
"""

from dataclasses import dataclass

import numpy as np

from zorba_ray.config import MemoryConfig
from zorba_ray.models import Manifest, Scope, TensorEntry

COMPUTE_BYTES = {"bf16": 2, "fp32": 4}


@dataclass(frozen=True)
class Workload:
    """What runs on the accelerator beside the weights."""

    batch_size: int
    """B, rows of one sign."""
    length: int
    """T."""
    hidden: int
    """H."""
    logits: int
    """C: logits per counted position (label words, label prompts, or the vocabulary)."""
    positions: int
    """Counted positions per row: 1 for a label, T for the LM loss."""


@dataclass(frozen=True)
class ClientMemory:
    """Bytes for any active set A: base + Σ_{b ∈ A} active_extra[b]."""

    parts: dict[str, int]
    """Bytes of the base, by part: stem, frozen (all blocks), scratch, stream buffers, activations."""
    active_extra: np.ndarray
    """int64 [L]: what block b costs more when active than when frozen."""
    source: str = "modelled"

    @property
    def base(self) -> int:
        """Bytes with every block frozen."""
        return sum(self.parts.values())

    def bytes_of(self, active: frozenset[int]) -> int:
        """Bytes of a client that activates `active`."""
        return self.base + int(sum(int(self.active_extra[block]) for block in active))


def client_memory(
    manifest: Manifest, config: MemoryConfig, scope: Scope, work: Workload, rank: int = 0
) -> ClientMemory:
    """The memory model of one client; equal for all clients of a run, whose budgets and active sets differ.

    - stem: embeddings, final norm and head in compute dtype.
    - frozen block: compute-dtype copy, or 0 where it is streamed from the host.
    - active block: its tensors in scope as fp32 master (4 bytes) or, with the master on the host, in compute dtype; the
      rest of it as in a frozen block.
    - scratch: the largest leaf module (weight and bias) in scope, in compute dtype: θ ± μz exists one leaf at a time.
      With directions of rank r a matrix [m, n] needs its factors instead, r (m + n) in compute dtype, and r columns of
      the doubled batch.
    - stream buffers: two buffers of the largest block where frozen blocks are streamed.
    - activations: for the doubled batch [2B]: embeddings, hidden states in and out, and the widest intermediate (in
      and out of its nonlinearity; with the up projection of a gated layer three) or the four attention tensors; the
      kept prefix [B]; logits in fp32.

    Scratch and activations are those of the worst active set, so the sum is exact or an upper bound for every A.
    """
    size = COMPUTE_BYTES[config.compute_dtype]

    def copy(tensor: TensorEntry) -> int:
        return tensor.numel * (size if len(tensor.shape) >= 2 else 4)

    rows = 2 * work.batch_size * work.length

    def slim(matrix: TensorEntry) -> int:
        return rank * (matrix.shape[0] + matrix.numel // matrix.shape[0] + rows) * size

    blocks = range(manifest.blocks)
    whole = {block: sum(copy(tensor) for tensor in manifest.by_block[block]) for block in blocks}
    extra = np.zeros(manifest.blocks, dtype=np.int64)
    leaves: dict[tuple[int, str], int] = {}
    for block in blocks:
        scoped = manifest.scoped(block, scope)
        held = sum(copy(tensor) for tensor in scoped)
        master = sum(4 * tensor.numel for tensor in scoped) if config.master == "device" else held
        extra[block] = master - (held if config.frozen == "device" else 0)
        for tensor in scoped:
            leaf = (block, tensor.name.rpartition(".")[0])
            leaves[leaf] = leaves.get(leaf, 0) + (slim(tensor) if rank and len(tensor.shape) >= 2 else copy(tensor))
    widest = max(max(t.shape) for block in blocks for t in manifest.by_block[block] if len(t.shape) >= 2)
    wide = max(sum(len(t.shape) == 2 and t.shape[0] == widest for t in manifest.by_block[b]) for b in blocks)
    intermediate = max((3 if wide > 1 else 2) * rows * widest, 4 * rows * work.hidden) * size
    parts = {
        "stem": sum(copy(t) for block, tensors in manifest.by_block.items() if block not in blocks for t in tensors),
        "frozen": sum(whole.values()) if config.frozen == "device" else 0,
        "scratch": max(leaves.values()),
        "stream buffers": 2 * max(whole.values()) if config.frozen == "host" else 0,
        "activations": 3 * rows * work.hidden * size
        + rows // 2 * work.hidden * size
        + intermediate
        + 2 * work.batch_size * work.positions * work.logits * 4,
    }
    return ClientMemory(parts, extra)
