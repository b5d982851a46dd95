"""Packing and unpacking compiled by numba; the same bytes on every machine.

Every product and quotient is rounded once, to fp32, and nothing is summed. The largest magnitude of a row is found
among the bit patterns: as integers they have the same order, and NaN and infinity stand above all finite numbers.
"""

import numpy as np

from zorba_ray.directions.compiled import compiled
from zorba_ray.formats.sizes import BLOCK, GROUP, LEVELS, MIDPOINTS

_LEVELS = np.array(LEVELS, dtype=np.float32)
_LIMIT = np.float32(2.0**127)
"""The largest magnitude that is packed. Above it, the product of code and scale could round to infinity."""


@compiled(error_model="numpy")
def _largest(values):
    """The largest magnitude among float32 values; NaN or infinity where a value is not finite."""
    bits = values.view(np.uint32)
    largest = np.uint32(0)
    for e in range(bits.size):
        magnitude = np.uint32(bits[e] & np.uint32(0x7FFFFFFF))
        if magnitude > largest:
            largest = magnitude
    return np.uint32(largest).view(np.float32)


@compiled(error_model="numpy")
def _bits(value, narrow):
    """float32 -> its bit pattern, or that of the bfloat16 next to it (`narrow`), half to even; uint32."""
    bits = np.float32(value).view(np.uint32)
    if narrow:
        bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return bits


@compiled(error_model="numpy", nogil=True)
def pack_int8(scales, codes, values):
    """scales float32 [rows] and codes int8 [rows, n] ← values float32 [rows, n].

    False: a value is not finite, or above 2^127.
    """
    for row in range(scales.size):
        most = _largest(values[row])
        if not most <= _LIMIT:  # NaN too
            return False
        inverse, scale = np.float32(127) / most, most / np.float32(127)
        if not np.isfinite(inverse):  # a row of zeros, or of magnitudes below 4e-37
            inverse, scale = np.float32(0), np.float32(0)
        scales[row] = scale
        for e in range(values.shape[1]):
            codes[row, e] = np.int8(np.rint(values[row, e] * inverse))
    return True


@compiled(error_model="numpy")
def unpack_int8(out, scales, codes, narrow):
    """out [rows, n] (bits of float32, or of bfloat16 where `narrow`) ← codes · scales."""
    for row in range(scales.size):
        for e in range(codes.shape[1]):
            out[row, e] = _bits(np.float32(codes[row, e]) * scales[row], narrow)


@compiled(error_model="numpy")
def _code(value):
    """How many midpoints `value` exceeds."""
    above = np.uint8(0)
    for midpoint in MIDPOINTS:
        above += np.uint8(value > midpoint)
    return above


@compiled(error_model="numpy", nogil=True)
def pack_nf4(scales, block_scales, codes, values):
    """scales float32 [groups], block_scales uint8 [blocks], codes uint8 [⌈n / 2⌉] ← values float32 [n].

    False: a value is not finite, or above 2^127.
    """
    largest = np.empty(GROUP, dtype=np.float32)
    block_codes = np.zeros(BLOCK + 1, dtype=np.uint8)
    for group in range(scales.size):
        first = group * GROUP
        count = min(GROUP, block_scales.size - first)
        for b in range(count):
            start = (first + b) * BLOCK
            largest[b] = _largest(values[start : start + BLOCK])
        most = _largest(largest[:count])
        if not most <= _LIMIT:  # NaN too
            return False
        unit = most / np.float32(255)
        if not np.isfinite(np.float32(1) / unit):  # zeros, or magnitudes below 8e-37
            unit = np.float32(0)
        scales[group] = unit
        for b in range(count):
            block_scale, inverse = np.float32(0), np.float32(0)
            if unit > 0 and largest[b] > 0:
                block_scale = max(np.float32(1), np.rint(largest[b] / unit))
                inverse = np.float32(1) / (block_scale * unit)
            block_scales[first + b] = np.uint8(block_scale)
            start = (first + b) * BLOCK
            size = min(BLOCK, values.size - start)
            for e in range(size):
                block_codes[e] = _code(values[start + e] * inverse)
            block_codes[size] = 0  # the other half of the last byte, where the number of values is odd
            for pair in range((size + 1) // 2):
                codes[start // 2 + pair] = block_codes[2 * pair] | (block_codes[2 * pair + 1] << 4)
    return True


@compiled(error_model="numpy")
def unpack_nf4(out, scales, block_scales, codes, narrow):
    """out [n] (bits of float32, or of bfloat16 where `narrow`) ← level · (block scale · group scale)."""
    levels = np.empty(16, dtype=out.dtype)
    for block in range(block_scales.size):
        scale = np.float32(block_scales[block]) * scales[block // GROUP]
        for code in range(16):
            levels[code] = _bits(_LEVELS[code] * scale, narrow)
        start = block * BLOCK
        size = min(BLOCK, out.size - start)
        for pair in range(size // 2):
            both = codes[start // 2 + pair]
            out[start + 2 * pair] = levels[both & 15]
            out[start + 2 * pair + 1] = levels[both >> 4]
        if size % 2:
            out[out.size - 1] = levels[codes[codes.size - 1]]
