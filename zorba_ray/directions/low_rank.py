"""Low-rank directions: z = U Vᵀ/√r for a matrix [m, n], U [m, r] and V [n, r] of signs from the tensor's own stream.

Elements 0 … m·r − 1 of the stream are U row by row, the n·r that follow are V row by row.

A commit gives the same bytes on every device and library, as with dense signs. The reason: an entry of U Vᵀ is an
integer of size r at most, and the coefficients c/√r are multiples of one grid step with a sum below 2^24/r steps
(`zo.update.on_grid`). So every partial sum is exact in fp32, in any order, with or without fused multiply-adds. Only
signs have this property; the settings refuse gaussian factors.

The form of LOZO (Chen et al., "Enhancing zeroth-order fine-tuning for language models with low-rank
structures", arXiv 2410.07698), drawn from our streams.
"""

from collections.abc import Sequence

import torch

from zorba_ray.directions.streams import TensorStream
from zorba_ray.directions.terms import DirectionBackend, Terms

_SUM_BYTES = 1 << 22
"""Size of the buffer that a commit's sum is built in, before it is added to θ."""
_COLUMNS = 1024
"""Columns of the stacked factors that one matrix product takes."""


def factors(
    backend: DirectionBackend, stream: TensorStream, shape: tuple[int, int], rank: int, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor]:
    """(U fp32 [m, r], V fp32 [n, r]) of one direction, entries ±1."""
    rows, columns = shape
    drawn = torch.empty((rows + columns) * rank, dtype=torch.float32, device=device)
    backend.perturb_into(drawn, torch.zeros_like(drawn), stream, 1.0)
    return drawn[: rows * rank].view(rows, rank), drawn[rows * rank :].view(columns, rank)


def apply_low_rank(
    backend: DirectionBackend,
    theta: torch.Tensor,
    block: int,
    slot: int,
    shape: tuple[int, ...],
    rank: int,
    commits: Sequence[Terms],
) -> None:
    """θ [m·n] (fp32, in place) ← RN(θ + Σ coefficient · U Vᵀ), one commit after another. A commit without terms changes
    nothing.

    Args:
        block, slot: the tensor's place in the manifest.
        shape: of the tensor; all axes but the first count as columns.
        commits: coefficients are c/√r on the grid for this rank.
    """
    matrix = theta.view(shape[0], -1)
    for terms in commits:
        if len(terms) == 0:
            continue
        left, right = _stacked(backend, block, slot, (matrix.shape[0], matrix.shape[1]), rank, terms, theta.device)
        height = max(1, _SUM_BYTES // (4 * matrix.shape[1]))
        for start in range(0, matrix.shape[0], height):
            part = slice(start, start + height)
            total = left[part, :_COLUMNS] @ right[:_COLUMNS]
            for low in range(_COLUMNS, left.shape[1], _COLUMNS):
                total += left[part, low : low + _COLUMNS] @ right[low : low + _COLUMNS]
            matrix[part] += total


def _stacked(
    backend: DirectionBackend,
    block: int,
    slot: int,
    shape: tuple[int, int],
    rank: int,
    terms: Terms,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors of all K terms side by side: ([m, K·r] times the coefficients, [K·r, n])."""
    (rows, columns), count = shape, len(terms)
    size = (rows + columns) * rank
    drawn = torch.empty(count * size, dtype=torch.float32, device=device)
    backend.draw_signs(drawn, terms.seeds, terms.directions, block, [(slot, size)])
    drawn = drawn.view(count, size)
    scales = torch.from_numpy(terms.coefficients).to(device).repeat_interleave(rank)
    left = drawn[:, : rows * rank].reshape(count, rows, rank).transpose(0, 1).reshape(rows, -1).mul_(scales)
    right = drawn[:, rows * rank :].reshape(count, columns, rank).transpose(1, 2).reshape(-1, columns)
    return left, right
