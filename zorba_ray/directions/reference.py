"""Directions in numpy: the reference implementation, and the fallback that needs no compiler."""

from collections.abc import Sequence

import numpy as np
import torch

from zorba_ray.directions.streams import KEY1, TensorStream, gaussian_table, tensor_stream, words
from zorba_ray.directions.terms import DirectionBackend, Terms, flat_fp32, flat_scratch

_TILE = 1 << 16  # elements at a time, so that the temporary arrays stay in the cache
_LANES = 16  # u16 lanes of a 256-bit group

# Row v holds the signs of byte v, least significant bit first.
_SIGNS = (np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") * 2.0 - 1.0).astype("f4")


def signs(stream: TensorStream, offset: int, count: int) -> np.ndarray:
    """Rademacher entries `offset` … `offset + count − 1`, float32 ±1."""
    first, last = offset >> 8, (offset + count + 255) >> 8
    drawn = words((stream.k0, KEY1), (first, stream.c1, stream.c2, 0), last - first)
    octets = drawn.astype("<u8", copy=False).view(np.uint8)
    start = offset - (first << 8)
    return np.take(_SIGNS, octets, axis=0).reshape(-1)[start : start + count]


def quantile_indices(stream: TensorStream, offset: int, count: int) -> np.ndarray:
    """Table indices of the gaussian entries `offset` … `offset + count − 1`, uint16 in 0 … 4095."""
    first, last = offset // _LANES, -(-(offset + count) // _LANES)
    drawn = words((stream.k0, KEY1), (first, stream.c1, stream.c2, 0), last - first)
    start = offset - first * _LANES
    return (drawn.astype("<u8", copy=False).view("<u2") >> 4)[start : start + count]


def direction(stream: TensorStream, offset: int, count: int) -> np.ndarray:
    """z itself, float32 [count]."""
    if stream.distribution == "rademacher":
        return signs(stream, offset, count)
    return gaussian_table()[quantile_indices(stream, offset, count)]


def round_to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 [n] -> uint16 [n], the bfloat16 bit patterns, round half to even; finite input."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


class NumpyDirections(DirectionBackend):
    """`DirectionBackend` on numpy."""

    name = "numpy"

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        source, target = flat_fp32(theta), flat_scratch(scratch)
        narrow = target.dtype == np.uint16
        step = np.float32(scale)
        table = gaussian_table() * step
        for start in range(0, source.size, _TILE):
            part = source[start : start + _TILE]
            if narrow:
                part = (round_to_bf16(part).astype(np.uint32) << 16).view(np.float32)
            if stream.distribution == "rademacher":
                moved = part + signs(stream, offset + start, part.size) * step
            else:
                moved = part + table[quantile_indices(stream, offset + start, part.size)]
            target[start : start + part.size] = round_to_bf16(moved) if narrow else moved

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        target = flat_fp32(theta)
        for terms in commits:
            if len(terms) == 0:
                continue
            listing = [
                (tensor_stream(int(seed), block, slot, int(direction), terms.distribution), coefficient)
                for seed, direction, coefficient in zip(terms.seeds, terms.directions, terms.coefficients, strict=True)
            ]
            for start in range(0, target.size, _TILE):
                part = target[start : start + _TILE]
                total = np.zeros(part.size, dtype=np.float32)
                for stream, coefficient in listing:
                    total += direction(stream, offset + start, part.size) * coefficient
                part += total
