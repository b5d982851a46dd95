"""Directions compiled by numba for one CPU thread; bit-equal to `reference`.

Random words are drawn for a tile of 8 groups (2,048 signs); in a commit for up to 32 seeds of a tile (8 KiB). So they
stay in the first-level cache while rows of 32 elements sum their terms in registers. Elements that do not fill a tile
(an offset within a group, the end of a tensor) go through a buffer of one tile.
"""

from collections.abc import Sequence

import numpy as np
import torch

from zorba_ray.directions.compiled import compiled
from zorba_ray.directions.streams import TensorStream, direction_counter, gaussian_table, tensor_counter
from zorba_ray.directions.terms import Terms, flat_fp32, flat_scratch, joined
from zorba_ray.directions.vectors import (
    GROUPS,
    LANES,
    STREAM_ALIGNMENT,
    draw_groups,
    fold_signs,
    settle_stores,
    shift_row,
    stream_row,
)

_SEEDS = 32
_WORDS = 4 * GROUPS
_GROUP = 256  # signs of one counter
_TILE = GROUPS * _GROUP
_ROWS = _TILE // LANES
_VALUES = GROUPS << 4  # gaussian entries of a tile
_BEYOND_CACHES = 2**22
"""From this many bytes of θ on, a perturbed copy is written past the caches: otherwise it would push out the data that
is needed next. Measured: at 9 MB this takes 0.74 of the time of plain stores, at 2 MB 0.9 (docs/log)."""


@compiled()
def _shift_tile(out, theta, at, bits, step):
    for row in range(_ROWS):
        shift_row(out, theta, at + row * LANES, bits[row], step)


@compiled()
def _stream_tile(out, theta, at, bits, step):
    for row in range(_ROWS):
        stream_row(out, theta, at + row * LANES, bits[row], step)


@compiled()
def _perturb_signs(out, theta, k0, c1, c2, step, offset, streamed):
    """out (float32, or uint16 for bfloat16) ← RN(θ̄ ± step).

    `streamed`: writes past the caches; then out[−offset] must begin on a cache line.
    """
    drawn = np.empty(_WORDS, dtype=np.uint64)
    bits = drawn.view(np.int32)
    before = np.zeros(_TILE, dtype=np.float32)
    after = np.zeros(_TILE, dtype=out.dtype)
    first = np.uint64(offset >> 8)
    start = -(offset & 255)  # the first group may begin before the shard
    while start < theta.size:
        draw_groups(drawn, 0, first, k0, c1, c2)
        if start >= 0 and start + _TILE <= theta.size:
            if streamed:
                _stream_tile(out, theta, start, bits, step)
            else:
                _shift_tile(out, theta, start, bits, step)
        else:
            low, high = max(0, -start), min(_TILE, theta.size - start)
            before[low:high] = theta[start + low : start + high]
            _shift_tile(after, before, 0, bits, step)
            out[start + low : start + high] = after[low:high]
        start += _TILE
        first += np.uint64(GROUPS)
    if streamed:
        settle_stores()


@compiled()
def _narrow(out, values, shift):
    """out ← the bfloat16 bits of `values` (float32 bits), rounded half to even, then shifted left by `shift`."""
    for e in range(values.size):
        value = values[e]
        rounded = (value + np.uint32(0x7FFF) + ((value >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        out[e] = rounded << shift


@compiled()
def _perturb_quantiles(out, theta, table, k0, c1, c2, offset):
    """out ← RN(θ + table[·]); the table holds the products ±μ z, each rounded once."""
    drawn = np.empty(_WORDS, dtype=np.uint64)
    lanes = drawn.view(np.uint16)
    first = np.uint64(offset >> 4)
    start = -(offset & 15)
    while start < theta.size:
        draw_groups(drawn, 0, first, k0, c1, c2)
        for e in range(max(0, -start), min(_VALUES, theta.size - start)):
            out[start + e] = theta[start + e] + table[lanes[e] >> 4]
        start += _VALUES
        first += np.uint64(GROUPS)


@compiled()
def _commit_signs(theta, k0, c1, c2, coefficients, ends, offset):
    """Adds the commits one after another to each tile. The terms of commit r end before index ends[r]."""
    drawn = np.empty(_SEEDS * _WORDS, dtype=np.uint64)
    bits = drawn.view(np.int32)
    acc = np.empty(_TILE, dtype=np.float32)
    first = np.uint64(offset >> 8)
    start = -(offset & 255)
    while start < theta.size:
        low, high = max(0, -start), min(_TILE, theta.size - start)
        begin = 0
        for end in ends:
            acc[:] = np.float32(0)
            while begin < end:
                stop = min(end, begin + _SEEDS)
                for k in range(begin, stop):
                    draw_groups(drawn, (k - begin) * _WORDS, first, k0[k], c1, c2[k])
                for row in range(_ROWS):
                    fold_signs(acc, row * LANES, bits, row, _ROWS, coefficients, begin, stop)
                begin = stop
            for e in range(low, high):
                theta[start + e] += acc[e]
        start += _TILE
        first += np.uint64(GROUPS)


@compiled()
def _commit_quantiles(theta, table, k0, c1, c2, coefficients, ends, offset):
    drawn = np.empty(_WORDS, dtype=np.uint64)
    lanes = drawn.view(np.uint16)
    acc = np.empty(_VALUES, dtype=np.float32)
    first = np.uint64(offset >> 4)
    start = -(offset & 15)
    while start < theta.size:
        low, high = max(0, -start), min(_VALUES, theta.size - start)
        begin = 0
        for end in ends:
            acc[:] = np.float32(0)
            for k in range(begin, end):
                draw_groups(drawn, 0, first, k0[k], c1, c2[k])
                for e in range(_VALUES):
                    acc[e] += table[lanes[e] >> 4] * coefficients[k]
            begin = end
            for e in range(low, high):
                theta[start + e] += acc[e]
        start += _VALUES
        first += np.uint64(GROUPS)


@compiled()
def _draw_signs(out, k0, c1, c2, sizes):
    """out ← ±1: for each part the directions one after another."""
    drawn = np.empty(_WORDS, dtype=np.uint64)
    bits = drawn.view(np.int32)
    zeros = np.zeros(_TILE, dtype=np.float32)
    signs = np.empty(_TILE, dtype=np.float32)
    at = 0
    for part in range(c1.size):
        for k in range(k0.size):
            for start in range(0, sizes[part], _TILE):
                draw_groups(drawn, 0, np.uint64(start >> 8), k0[k], c1[part], c2[k])
                count = min(_TILE, sizes[part] - start)
                for row in range((count + LANES - 1) // LANES):
                    shift_row(signs, zeros, row * LANES, bits[row], np.float32(1))
                out[at : at + count] = signs[:count]
                at += count


class NumbaDirections:
    """`DirectionBackend` on numba, one thread."""

    name = "numba"

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        source, target = flat_fp32(theta), flat_scratch(scratch)
        k0, c1, c2 = np.uint64(stream.k0), np.uint64(stream.c1), np.uint64(stream.c2)
        step = np.float32(scale)
        if stream.distribution == "rademacher":
            _perturb_signs(target, source, k0, c1, c2, step, offset, _may_stream(source, target, offset))
            return
        table = gaussian_table() * step
        if target.dtype != np.uint16:
            _perturb_quantiles(target, source, table, k0, c1, c2, offset)
            return
        moved = np.empty(source.size, dtype=np.float32)
        _narrow(moved.view(np.uint32), source.view(np.uint32), np.uint32(16))
        _perturb_quantiles(moved, moved, table, k0, c1, c2, offset)
        _narrow(target, moved.view(np.uint32), np.uint32(0))

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        terms_and_ends = joined(commits)
        if terms_and_ends is None:
            return
        terms, ends = terms_and_ends
        target, c1 = flat_fp32(theta), np.uint64(tensor_counter(block, slot))
        c2 = terms.directions + np.uint64(direction_counter(0, terms.distribution))
        if terms.distribution == "rademacher":
            _commit_signs(target, terms.seeds, c1, c2, terms.coefficients, ends, offset)
        else:
            _commit_quantiles(target, gaussian_table(), terms.seeds, c1, c2, terms.coefficients, ends, offset)

    def draw_signs(
        self,
        out: torch.Tensor,
        seeds: np.ndarray,
        directions: np.ndarray,
        block: int,
        parts: Sequence[tuple[int, int]],
    ) -> None:
        c1 = np.array([tensor_counter(block, slot) for slot, _ in parts], dtype=np.uint64)
        c2 = directions + np.uint64(direction_counter(0, "rademacher"))
        _draw_signs(flat_fp32(out), seeds, c1, c2, np.array([size for _, size in parts]))


def _may_stream(source: np.ndarray, target: np.ndarray, offset: int) -> bool:
    """Whether writing past the caches pays (a large copy) and is allowed (every full tile begins on a cache line)."""
    first_tile = target.ctypes.data + (-offset % _GROUP) * target.itemsize
    return source.nbytes >= _BEYOND_CACHES and first_tile % STREAM_ALIGNMENT == 0
