"""How many bytes a matrix takes in a packed format, and where its parts are in them.

A packed matrix is one run of bytes, its slab. The parts follow each other, each beginning at a multiple of 64 bytes:

- int8: fp32 scales, one per row; codes, one signed byte per value.
- nf4: fp32 scales, one per group of 256 blocks; 8-bit scales, one per block of 64 values; codes, four bits per value:
  the value with the even index in the lower half of a byte.

A row is what the last axis holds. Blocks run over the flat matrix, from its first value on; the last may be shorter.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal

PackedFormat = Literal["int8", "nf4"]

BLOCK = 64
"""Values of an nf4 block."""
GROUP = 256
"""Blocks of an nf4 group."""
_ALIGNMENT = 64


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
    second = _aligned(4 * scales)
    third = second + _aligned(block_scales)
    return Slab(
        slice(0, 4 * scales), slice(second, second + block_scales), slice(third, third + codes), third + _aligned(codes)
    )


def _aligned(size: int) -> int:
    """The next multiple of 64."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT
