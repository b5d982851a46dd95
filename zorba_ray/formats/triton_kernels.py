"""Triton's kernel for unpacking nf4 (`on_device` launches it).

A program has [BLOCKS, 32] bytes of codes: a row for each block of 64 values, all in one group. A value is one product,
so the compiler has nothing to fuse that would round differently.
"""

import triton  # pyright: ignore[reportMissingImports]  (comes with torch's wheels for CUDA)
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def nf4_values(
    target, scales, block_scales, codes, levels, size, blocks, nbytes, NARROW: tl.constexpr, BLOCKS: tl.constexpr
):
    """target [size] ← level · (block scale · group scale), as bits: int32, or those of bfloat16 as int16 (NARROW).

    scales: fp32 [groups]; block_scales: uint8 [blocks]; codes: uint8 [nbytes]; levels: fp32 [16].
    """
    first = tl.program_id(0) * BLOCKS
    row = tl.arange(0, BLOCKS)
    byte = first * 32 + row[:, None] * 32 + tl.arange(0, 32)[None, :]
    both = tl.load(codes + byte, mask=byte < nbytes, other=0).to(tl.int32)
    scale = tl.load(block_scales + first + row, mask=first + row < blocks, other=0).to(tl.float32)
    scale = (scale * tl.load(scales + first // 256))[:, None]
    low, high = tl.load(levels + (both & 15)) * scale, tl.load(levels + (both >> 4)) * scale
    bits = tl.interleave(low, high).to(tl.uint32, bitcast=True)
    element = first * 64 + row[:, None] * 64 + tl.arange(0, 64)[None, :]
    if NARROW:  # half to even, by integers
        bits = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.uint16).to(tl.int16, bitcast=True)
    else:
        bits = bits.to(tl.int32, bitcast=True)
    tl.store(target + element, bits, mask=element < size)
