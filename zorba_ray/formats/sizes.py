"""How many bytes a matrix takes in a packed format, and where its parts are in them.

A packed matrix is one run of bytes, its slab. The parts follow each other, each beginning at a multiple of 64 bytes:

- int8: fp32 scales, one per row; codes, one signed byte per value.
- nf4: fp32 maxima, one per group of 256 blocks; scales, one byte per block of 64 values; codes, four bits per value:
  the value with the even index in the lower half of a byte.

A row is what the last axis holds. Blocks run over the flat matrix, from its first value on; the last may be shorter.
"""

import math
from dataclasses import dataclass
from typing import Literal

Format = Literal["compute", "int8", "nf4"]
"""How a frozen matrix is kept: `compute` is the compute dtype itself, the other two are packed."""
PackedFormat = Literal["int8", "nf4"]

BLOCK = 64
"""Values of an nf4 block."""
GROUP = 256
"""Blocks of an nf4 group."""
_ALIGNMENT = 64


@dataclass(frozen=True)
class Slab:
    """The parts of one packed matrix: byte offsets and lengths inside its slab."""

    maxima: slice
    """Bytes of the fp32 numbers: scales of rows (int8), or maxima of groups (nf4)."""
    scales: slice
    """Bytes of the 8-bit scales of blocks; empty for int8."""
    codes: slice
    nbytes: int
    """Bytes of all of it, a multiple of 64."""


def slab(format: PackedFormat, shape: tuple[int, ...]) -> Slab:
    """Where the parts of a matrix of this shape (two axes or more) are."""
    numel = math.prod(shape)
    if format == "int8":
        numbers, scales, codes = numel // shape[-1], 0, numel
    else:
        blocks = -(-numel // BLOCK)
        numbers, scales, codes = -(-blocks // GROUP), blocks, -(-numel // 2)
    parts: list[slice] = []
    start = 0
    for size in (4 * numbers, scales, codes):
        parts.append(slice(start, start + size))
        start += -(-size // _ALIGNMENT) * _ALIGNMENT
    return Slab(*parts, start)
