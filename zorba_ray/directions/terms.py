"""The interface of all implementations of directions, and `Terms`: what a commit adds to θ.

There are three operations. Every implementation must give the same bits. Both read θ in fp32 and address an element by
its row-major index in the whole tensor; `offset` is the index of the first element of a shard.

- `perturb_into`: scratch = RN(fp32(θ̄) + a), θ̄ = RN_dtype(θ), a = ±μ z rounded once; θ is never written.
- `apply_commits`: θ = RN(θ + acc) for each commit in turn, acc = Σ_k c_k z_k in fp32 in ledger order, each product
  rounded before it is added. Several commits in one call give the same bytes, in one pass over the memory.
- `draw_signs`: the first entries of many directions of ±1 side by side, as factors of low rank need them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from zorba_ray.directions.streams import Distribution, TensorStream, tensor_stream


@dataclass(frozen=True)
class Terms:
    """What a commit adds to the tensors of one block: Σ_k coefficients[k] · z(seeds[k], directions[k]), in order."""

    seeds: np.ndarray
    """uint64 [K], seed64 of (round, stream, step)."""
    directions: np.ndarray
    """uint64 [K], number of the direction within its step."""
    coefficients: np.ndarray
    """float32 [K]."""
    distribution: Distribution

    def __len__(self) -> int:
        return len(self.coefficients)

    def moving(self) -> "Terms":
        """These terms without those whose coefficient is zero."""
        nonzero = self.coefficients != 0
        return Terms(self.seeds[nonzero], self.directions[nonzero], self.coefficients[nonzero], self.distribution)


def joined(commits: Sequence[Terms]) -> tuple[Terms, np.ndarray] | None:
    """The terms of several commits one after another, and where each commit ends, int64 [commits].

    Commits without terms are left out. None: no commit has terms.
    """
    commits = [terms for terms in commits if len(terms)]
    if not commits:
        return None
    distribution = commits[0].distribution
    assert all(terms.distribution == distribution for terms in commits), "commits of two distributions in one call"
    terms = Terms(
        np.concatenate([commit.seeds for commit in commits]),
        np.concatenate([commit.directions for commit in commits]),
        np.concatenate([commit.coefficients for commit in commits]),
        distribution,
    )
    return terms, np.cumsum([len(commit) for commit in commits], dtype=np.int64)


class DirectionBackend(Protocol):
    """Interface of all implementations; they give the same bits."""

    name: str

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        """scratch [n] (fp32 or bf16) ← θ [n] (fp32) + scale · z; `scale` = ±μ is rounded to fp32."""
        ...

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        """θ [n] (fp32, in place) ← RN(θ + Σ coefficient · z), one commit after another. A commit without terms changes
        nothing.

        `block`, `slot`: the tensor's place in the manifest. All commits draw from one distribution.
        """
        ...

    def draw_signs(
        self,
        out: torch.Tensor,
        seeds: np.ndarray,
        directions: np.ndarray,
        block: int,
        parts: Sequence[tuple[int, int]],
    ) -> None:
        """out (fp32, flat) ← for each part [K, n]: in row k the first n entries, ±1, of direction directions[k] under
        seeds[k]. Here by `perturb_into`, a call for each row; a backend that has a quicker way overrides it.

        Args:
            seeds, directions: uint64 [K], as of `Terms`.
            block: of all tensors.
            parts: (slot of a tensor in the manifest, n), one after another.
        """
        nothing, at = torch.zeros_like(out), 0
        for slot, size in parts:
            for seed, number in zip(seeds.tolist(), directions.tolist(), strict=True):
                stream = tensor_stream(seed, block, slot, number, "rademacher")
                self.perturb_into(out[at : at + size], nothing[:size], stream, 1.0)
                at += size


def flat_fp32(tensor: torch.Tensor) -> np.ndarray:
    """The memory of a contiguous fp32 CPU tensor as float32 [numel], shared, not copied."""
    assert tensor.dtype == torch.float32, tensor.dtype
    assert tensor.is_contiguous(), tensor.stride()
    array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    return array if array.ndim == 1 else array.reshape(-1)


def flat_scratch(tensor: torch.Tensor) -> np.ndarray:
    """As `flat_fp32`; a bfloat16 tensor is returned as its uint16 bit patterns."""
    assert tensor.is_contiguous(), tensor.stride()
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(np.uint16).reshape(-1)
    return flat_fp32(tensor)
