"""Directions compiled by numba for one CPU thread; bit-equal to `reference`.

Words are drawn for a tile of 16 groups (4,096 signs) that stays in cache; the ±1 step is written as bit · 2a − a on
32-element rows, which the compiler vectorises and which is exactly ±a. numba contracts nothing to fused multiply-adds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic

from zorba_ray.directions.arrays import flat_fp32, flat_scratch
from zorba_ray.directions.backend import Entry
from zorba_ray.directions.compiled import compiled
from zorba_ray.directions.philox import M0, M1, W0, W1, gaussian_table
from zorba_ray.directions.streams import KEY1, TensorStream

_M0, _M1, _W0, _W1, _K1 = (np.uint64(v) for v in (M0, M1, W0, W1, KEY1))
_GROUPS = 16  # 256-bit groups per tile


@intrinsic
def _high_product(typingctx: Any, a: Any, b: Any) -> Any:
    """Upper 64 bits of a 64 × 64 bit product; LLVM has 128-bit integers where numba has none."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        from llvmlite import ir

        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), build


@compiled(inline="always")
def _draw(out, first, groups, k0, c1, c2):
    """out uint64 [4 · groups] ← words of counters first, first+1, …"""
    for g in range(groups):
        x0, x1, x2, x3 = np.uint64(first + np.uint64(g)), c1, c2, np.uint64(0)
        a, b = k0, _K1
        for _ in range(10):
            high0, low0 = _high_product(_M0, x0), _M0 * x0  # pyright: ignore[reportCallIssue]
            high1, low1 = _high_product(_M1, x2), _M1 * x2  # pyright: ignore[reportCallIssue]
            x0, x1, x2, x3 = high1 ^ x1 ^ a, low1, high0 ^ x3 ^ b, low0
            a += _W0
            b += _W1
        out[4 * g] = x0
        out[4 * g + 1] = x1
        out[4 * g + 2] = x2
        out[4 * g + 3] = x3


@compiled(inline="always")
def _narrow(value):
    """float32 [1] bits -> bfloat16 bits, half to even."""
    return (value + np.uint32(0x7FFF) + ((value >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)


@compiled()
def _add_signs(acc, drawn, count, step):
    """acc[:count] += ±step by the bits of drawn (int32 view, 32 elements a row); count ≤ 4,096."""
    rows = count >> 5
    twice = step + step
    full = acc[: rows << 5].reshape(rows, 32)
    for i in range(rows):
        w = drawn[i]
        for j in range(32):
            full[i, j] += np.float32((w >> np.int32(j)) & np.int32(1)) * twice - step
    for e in range(rows << 5, count):
        acc[e] += np.float32((drawn[e >> 5] >> np.int32(e & 31)) & np.int32(1)) * twice - step


@compiled()
def _perturb_signs(out, theta, k0, c1, c2, step, offset):
    drawn = np.empty(4 * _GROUPS, dtype=np.uint64)
    bits = drawn.view(np.int32)
    tile = _GROUPS << 8
    lead = offset & 255  # elements of the first group that lie before the shard
    size = theta.size
    first = np.uint64(offset >> 8)
    if lead == 0:
        start = 0
        while start < size:
            count = min(tile, size - start)
            _draw(drawn, first, (count + 255) >> 8, k0, c1, c2)
            part = out[start : start + count]
            part[:] = theta[start : start + count]
            _add_signs(part, bits, count, step)
            start += count
            first += np.uint64(_GROUPS)
        return
    buffer = np.zeros(tile, dtype=np.float32)
    start = -lead
    while start < size:
        count = min(tile, size - start)
        _draw(drawn, first, (count + 255) >> 8, k0, c1, c2)
        skip = -start if start < 0 else 0
        buffer[skip:count] = theta[start + skip : start + count]
        _add_signs(buffer, bits, count, step)
        out[start + skip : start + count] = buffer[skip:count]
        start += count
        first += np.uint64(_GROUPS)


@compiled()
def _perturb_quantiles(out, theta, table, k0, c1, c2, offset):
    drawn = np.empty(4 * _GROUPS, dtype=np.uint64)
    lanes = drawn.view(np.uint16)
    size = theta.size
    start = -(offset & 15)
    first = np.uint64(offset >> 4)
    while start < size:
        count = min(_GROUPS << 4, size - start)
        _draw(drawn, first, (count + 15) >> 4, k0, c1, c2)
        skip = -start if start < 0 else 0
        for e in range(skip, count):
            out[start + e] = theta[start + e] + table[lanes[e] >> 4]
        start += count
        first += np.uint64(_GROUPS)


@compiled()
def _to_bf16(out, values):
    for e in range(values.size):
        out[e] = _narrow(values[e])


@compiled()
def _through_bf16(out, values):
    for e in range(values.size):
        out[e] = _narrow(values[e]) << np.uint32(16)


@compiled()
def _commit_signs(theta, k0, c1, c2, coefficients, offset):
    tile = _GROUPS << 8
    drawn = np.empty(4 * _GROUPS, dtype=np.uint64)
    bits = drawn.view(np.int32)
    acc = np.empty(tile, dtype=np.float32)
    size = theta.size
    start = -(offset & 255)
    first = np.uint64(offset >> 8)
    while start < size:
        count = min(tile, size - start)
        acc[:count] = np.float32(0)
        for k in range(coefficients.size):
            _draw(drawn, first, (count + 255) >> 8, k0[k], c1[k], c2[k])
            _add_signs(acc, bits, count, coefficients[k])
        skip = -start if start < 0 else 0
        for e in range(skip, count):
            theta[start + e] += acc[e]
        start += count
        first += np.uint64(_GROUPS)


@compiled()
def _commit_quantiles(theta, tables, k0, c1, c2, offset):
    tile = _GROUPS << 4
    drawn = np.empty(4 * _GROUPS, dtype=np.uint64)
    lanes = drawn.view(np.uint16)
    acc = np.empty(tile, dtype=np.float32)
    size = theta.size
    start = -(offset & 15)
    first = np.uint64(offset >> 4)
    while start < size:
        count = min(tile, size - start)
        acc[:count] = np.float32(0)
        for k in range(k0.size):
            _draw(drawn, first, (count + 15) >> 4, k0[k], c1[k], c2[k])
            for e in range(count):
                acc[e] += tables[k, lanes[e] >> 4]
        skip = -start if start < 0 else 0
        for e in range(skip, count):
            theta[start + e] += acc[e]
        start += count
        first += np.uint64(_GROUPS)


class NumbaDirections:
    """`DirectionBackend` on numba, one thread."""

    name = "numba"

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        source, target = flat_fp32(theta), flat_scratch(scratch)
        narrow = target.dtype == np.uint16
        out = np.empty(source.size, dtype=np.float32) if narrow else target
        if narrow:
            _through_bf16(out.view(np.uint32), source.view(np.uint32))
            source = out.copy()
        k0, c1, c2 = np.uint64(stream.k0), np.uint64(stream.c1), np.uint64(stream.c2)
        step = np.float32(scale)
        if stream.distribution == "rademacher":
            _perturb_signs(out, source, k0, c1, c2, step, offset)
        else:
            _perturb_quantiles(out, source, gaussian_table() * step, k0, c1, c2, offset)
        if narrow:
            _to_bf16(target, out.view(np.uint32))

    def apply_commit(self, theta: torch.Tensor, entries: Sequence[Entry], offset: int = 0) -> None:
        if not entries:
            return
        target = flat_fp32(theta)
        k0 = np.array([entry.stream.k0 for entry in entries], dtype=np.uint64)
        c1 = np.array([entry.stream.c1 for entry in entries], dtype=np.uint64)
        c2 = np.array([entry.stream.c2 for entry in entries], dtype=np.uint64)
        coefficients = np.array([entry.coefficient for entry in entries], dtype=np.float32)
        if entries[0].stream.distribution == "rademacher":
            _commit_signs(target, k0, c1, c2, coefficients, offset)
        else:
            _commit_quantiles(target, gaussian_table()[None, :] * coefficients[:, None], k0, c1, c2, offset)
