"""Packed formats: how many bytes a matrix takes, where its parts are in them, and the values of nf4.

A packed matrix is one run of bytes, its slab. The parts follow each other, each beginning at a multiple of 64 bytes:

- int8: fp32 scales, one per row; codes, one signed byte per value.
- nf4: fp32 scales, one per group of 256 blocks; 8-bit scales, one per block of 64 values; codes, four bits per value:
  the value with the even index in the lower half of a byte.

A row is what the last axis holds. Blocks run over the flat matrix, from its first value on; the last may be shorter.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

PackedFormat = Literal["int8", "nf4"]

BLOCK = 64
"""Values of an nf4 block."""
GROUP = 256
"""Blocks of an nf4 group."""
ALIGNMENT = 64
"""Bytes. Matrix kernels may give other last bits at other alignments."""
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 values of nf4, fp32 numbers, ascending: quantiles of a normal distribution, scaled to −1 … 1 (QLoRA, arXiv
2305.14314, appendix E)."""
MIDPOINTS = tuple(np.float32((low + high) / 2) for low, high in itertools.pairwise(LEVELS))
"""A value above k of these 15 numbers has the code k."""


@dataclass(frozen=True)
class Slab:
    """The parts of one packed matrix: byte offsets and lengths inside its slab."""

    scales: slice
    """Bytes of the fp32 scales: of rows (int8), or of groups (nf4)."""
    block_scales: slice
    """Bytes of the 8-bit scales of blocks; empty for int8."""
    codes: slice
    nbytes: int
    """Bytes of all of it, a multiple of 64."""


@functools.cache
def slab(format: PackedFormat, shape: tuple[int, ...]) -> Slab:
    """Where the parts of a matrix of this shape (two axes or more) are."""
    numel = math.prod(shape)
    if format == "int8":
        scales, block_scales, codes = numel // shape[-1], 0, numel
    else:
        block_scales, codes = -(-numel // BLOCK), -(-numel // 2)
        scales = -(-block_scales // GROUP)
    second = aligned(4 * scales)
    third = second + aligned(block_scales)
    return Slab(
        slice(0, 4 * scales), slice(second, second + block_scales), slice(third, third + codes), third + aligned(codes)
    )


def aligned(size: int) -> int:
    """The next multiple of 64, in bytes."""
    return -(-size // ALIGNMENT) * ALIGNMENT
