"""The manifest of a run: the list of parameter tensors, each with its block and slot (rng.md).

It is fixed at the start of a run, and its SHA-256 is in the ledger's header. It does not depend on the order in which
modules are registered: within a block, slots follow the names of the tensors. Tied weights have one entry.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from zorba_ray.directions import EMBEDDINGS, FINAL_NORM, HEAD
from zorba_ray.formats import Format, aligned, slab

Scope = Literal["all", "matrices", "bias_norm", "lora", "biases", "norm_weights", "attention", "feed_forward"]

ADAPTER = "lora_"
"""The last part of an adapter's name begins with this."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One parameter tensor: `offset` is its first element in the arena."""

    block: int
    slot: int
    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    def compute_dtype(self, matrices: torch.dtype) -> torch.dtype:
        """The dtype in computations: `matrices` for matrices, fp32 for vectors (algorithm.md §6)."""
        return matrices if len(self.shape) >= 2 else torch.float32

    @property
    def packable(self) -> bool:
        """Whether a packed format may hold it: a matrix of a block, or one of two axes outside the blocks, whose rows
        are read. Adapters are small, and not packed."""
        outside = self.block in (EMBEDDINGS, FINAL_NORM, HEAD)
        return (len(self.shape) == 2 if outside else len(self.shape) >= 2) and not self.in_scope("lora")

    def kept(self, format: Format, copy: int) -> int:
        """Bytes in a format; `copy`: bytes in the compute dtype, also of what cannot be packed."""
        return slab(format, self.shape).nbytes if format != "compute" and self.packable else copy

    def in_scope(self, scope: Scope) -> bool:
        """Whether `scope` perturbs this tensor when its block is active."""
        if scope == "lora":
            return self.name.rsplit(".", 1)[-1].startswith(ADAPTER)
        matrix = len(self.shape) >= 2
        if scope in ("biases", "norm_weights"):
            return not matrix and (self.name.rsplit(".", 1)[-1] == "bias") == (scope == "biases")
        if scope in ("attention", "feed_forward"):
            return matrix and ("att" in self.name.lower()) == (scope == "attention")
        return scope == "all" or matrix == (scope == "matrices")


@dataclass(frozen=True)
class Manifest:
    """All tensors, transformer blocks first in order, then embeddings, final norm and head."""

    tensors: tuple[TensorEntry, ...]
    blocks: int
    """L, the number of transformer blocks."""

    @cached_property
    def by_block(self) -> dict[int, tuple[TensorEntry, ...]]:
        """Block id -> its tensors in slot order."""
        table: dict[int, list[TensorEntry]] = {}
        for entry in self.tensors:
            table.setdefault(entry.block, []).append(entry)
        return {block: tuple(entries) for block, entries in table.items()}

    @cached_property
    def size(self) -> int:
        """Number of elements of the arena, with padding."""
        last = self.tensors[-1]
        return last.offset + _padded(last.numel)

    @property
    def numel(self) -> int:
        """Number of parameters of the model."""
        return sum(entry.numel for entry in self.tensors)

    def scoped(self, block: int, scope: Scope) -> tuple[TensorEntry, ...]:
        """Tensors of `block` that a perturbation of `scope` moves."""
        return tuple(entry for entry in self.by_block[block] if entry.in_scope(scope))

    def moved(self, scope: Scope) -> tuple[TensorEntry, ...]:
        """Tensors of all blocks that a run with `scope` can move, in order."""
        return tuple(entry for block in range(self.blocks) for entry in self.scoped(block, scope))

    def sizes(self, scope: Scope = "all") -> list[int]:
        """d_b of every block: number of parameters that a perturbation of `scope` moves."""
        return [sum(entry.numel for entry in self.scoped(block, scope)) for block in range(self.blocks)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the list (block, slot, name, shape)."""
        listing = [[entry.block, entry.slot, entry.name, list(entry.shape)] for entry in self.tensors]
        return hashlib.sha256(json.dumps(listing, separators=(",", ":")).encode()).hexdigest()


def build_manifest(shapes: dict[str, tuple[int, ...]], block_of: dict[str, int], blocks: int) -> Manifest:
    """Manifest from parameter names: `block_of[name]` is a block number or one of EMBEDDINGS, FINAL_NORM, HEAD."""
    tensors: list[TensorEntry] = []
    offset = 0
    for block in [*range(blocks), EMBEDDINGS, FINAL_NORM, HEAD]:
        names = sorted(name for name in shapes if block_of[name] == block)
        for slot, name in enumerate(names):
            tensors.append(TensorEntry(block, slot, name, shapes[name], offset))
            offset += _padded(tensors[-1].numel)
    return Manifest(tuple(tensors), blocks)


def _padded(numel: int) -> int:
    """fp32 elements that a tensor takes in the arena: 64-byte aligned, the same on every replica."""
    return aligned(4 * numel) // 4
