"""Philox4x64-10 (Salmon et al., SC'11; constants of Random123) and the table of normal quantiles.

`words` is numpy's native generator brought to our counters: the reference that every kernel must reproduce bit for bit.
The definition in plain integers stands in tests/support/philox.py, with known answers.
"""

import functools
import hashlib
from statistics import NormalDist

import numpy as np

M0, M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
W0, W1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
ROUNDS = 10
MASK = 2**64 - 1

QUANTILES = 4096
_SCALE = 0.99983971099263947712  # brings the variance of the mid-point quantiles to 1
_TABLE_SHA256 = "87d2297bd6f503ad9b582cb87a6d8d21e20633747144ac688b90f4efcde6a2e8"


def first_words(counters: tuple[np.ndarray, np.ndarray, np.ndarray], key: tuple[int, int]) -> np.ndarray:
    """First word of each block (c0, c1, c2, 0) under one key: uint64, as the counters broadcast."""
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(own, dtype=np.uint64) for own in counters), np.uint64(0))
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = _product(c0, M0)
        high1, low1 = _product(c2, M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0


def _product(value: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """High and low 64 bits of value · factor, from products of halves: numpy has no 128-bit integers."""
    half, low32 = np.uint64(32), np.uint64(0xFFFFFFFF)
    a1, a0 = value >> half, value & low32
    b1, b0 = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    low = a0 * b0
    middle = a1 * b0 + (low >> half)
    cross = a0 * b1 + (middle & low32)
    return a1 * b1 + (middle >> half) + (cross >> half), (cross << half) | (low & low32)


def words(key: tuple[int, int], counter: tuple[int, int, int, int], groups: int) -> np.ndarray:
    """Words of `groups` consecutive counters (c0, c0+1, …), uint64 [4 · groups].

    numpy increments its counter before each group, so it is started one lower.
    """
    c0, c1, c2, c3 = counter
    start = ((c0 | c1 << 64 | c2 << 128 | c3 << 192) - 1) % 2**256
    return np.random.Philox(key=key[0] | key[1] << 64, counter=start).random_raw(4 * groups)


@functools.cache
def gaussian_table() -> np.ndarray:
    """float32 [4096]: mid-point normal quantiles scaled to variance 1, antisymmetric, read-only.

    Raises:
        RuntimeError: this Python's quantiles differ from the definition (checked by SHA-256).
    """
    normal = NormalDist()
    upper = [normal.inv_cdf((i + 0.5) / QUANTILES) / _SCALE for i in range(QUANTILES // 2, QUANTILES)]
    half = np.array(upper, dtype=np.float64).astype("<f4")
    table = np.concatenate([-half[::-1], half])
    if hashlib.sha256(table.tobytes()).hexdigest() != _TABLE_SHA256:
        raise RuntimeError("the table of normal quantiles differs from its definition; this Python's math is unusual")
    table.setflags(write=False)
    return table
