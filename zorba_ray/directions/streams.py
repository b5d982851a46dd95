"""Every random number of a run, as a function of its seed and a counter ("zdir v1"). Seeds are made ONLY here.

z(run seed, round, stream, step, direction, tensor, element) is a pure function: no generator has a state. Sampling
(batches, participants, partition, budgets) uses the same cipher with another key.

The cipher is Philox4x64-10 (Salmon et al., SC'11; constants of Random123). `words` calls numpy's implementation with
our counters. It is the reference: every kernel must give the same bits. tests/support/philox.py has the definition in
plain integers, with known answers.
"""

import functools
import hashlib
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

VERSION = "zdir v1"

KEY1 = 0x5A6F7242415F7631  # "ZorBA_v1"
_SEED_KEY1 = 0x5A425F534545445F  # "ZB_SEED_"
_SAMPLE_KEY1 = 0x5A425F53414D504C  # "ZB_SAMPL"

EMBEDDINGS, FINAL_NORM, HEAD = 0xFFFF0000, 0xFFFF0001, 0xFFFF0002
"""Block ids of the tensors outside the transformer blocks."""

PROBE = 2**32
"""Stream of the block probe, shared by all clients. It is larger than every client id."""
POOL = 2**32 + 1
"""Stream of a pool of candidate seeds, shared by all clients and rounds."""

Distribution = Literal["rademacher", "gaussian"]
_PURPOSE: dict[str, int] = {"rademacher": 0, "gaussian": 1}

Sample = Literal[
    "batches", "participants", "partition", "budgets", "rows", "sweep", "allocation", "probe", "pool", "adapters",
    "bootstrap", "adversaries",
]  # fmt: skip
_SAMPLE_PURPOSE: dict[str, int] = {
    "batches": 16,
    "participants": 17,
    "partition": 18,
    "budgets": 19,
    "rows": 20,
    "sweep": 21,
    "allocation": 22,
    "probe": 23,
    "pool": 24,
    "adapters": 25,
    "bootstrap": 26,
    "adversaries": 27,
}


class TensorStream(NamedTuple):
    """Key and counter of one tensor's direction; c0 counts 256-bit groups along the tensor, c3 = 0."""

    k0: int
    c1: int
    c2: int
    distribution: Distribution


def direction_seed(master: int, round: int, stream: int, step: int) -> int:
    """The 64-bit seed of one (round, stream, step). `stream` is the client id (seeds: per_client) or 0 (shared)."""
    return int(words((master, _SEED_KEY1), (step, stream, round, 0), 1)[0])


def direction_seeds(master: int, round: int, streams: np.ndarray, steps: int) -> np.ndarray:
    """`direction_seed` of every stream and of steps 0 … `steps` − 1: uint64 [streams, steps]."""
    return first_words((np.arange(steps)[None, :], streams[:, None], np.array(round)), (master, _SEED_KEY1))


def pool_seeds(master: int, size: int) -> np.ndarray:
    """Candidate seeds 0 … `size` − 1 of a run: uint64 [size], each a `direction_seed` of round 0. Rounds begin at 1, so
    no round uses the same seeds."""
    return direction_seeds(master, 0, np.array([POOL]), size)[0]


def pool_draws(master: int, client: int, round: int, steps: int, size: int) -> np.ndarray:
    """The candidate seeds that a client draws in a round, with replacement: int64 [steps]."""
    return (uniforms(master, "pool", client, round, steps) * size).astype(np.int64)


def tensor_stream(seed: int, block: int, slot: int, direction: int, distribution: Distribution) -> TensorStream:
    """Stream of tensor `slot` of `block` for one direction under `seed` (a `direction_seed`)."""
    return TensorStream(seed, tensor_counter(block, slot), direction_counter(direction, distribution), distribution)


def tensor_counter(block: int, slot: int) -> int:
    """c1 of a tensor."""
    return block << 32 | slot


def direction_counter(direction: int, distribution: Distribution) -> int:
    """c2 of a direction."""
    return _PURPOSE[distribution] << 32 | direction


def sample_words(master: int, purpose: Sample, a: int, b: int, count: int) -> np.ndarray:
    """uint64 [count] for sampling decision (purpose, a, b); e.g. a = client, b = epoch."""
    groups = -(-count // 4)
    return words((master, _SAMPLE_KEY1), (0, a, _SAMPLE_PURPOSE[purpose] << 32, b), groups)[:count]


def permutation(master: int, purpose: Sample, a: int, b: int, count: int) -> np.ndarray:
    """A permutation of 0 … count − 1, int64. It sorts random 64-bit keys, so it depends on no library's shuffle."""
    if count <= 1:  # a shortcut: a client with one batch per epoch calls this in every epoch
        return np.arange(count)
    return np.argsort(sample_words(master, purpose, a, b, count), kind="stable")


def uniforms(master: int, purpose: Sample, a: int, b: int, count: int) -> np.ndarray:
    """float64 [count], uniform in (0, 1): mid-points of 2^52 equal intervals, each exactly representable."""
    return ((sample_words(master, purpose, a, b, count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normals(master: int, purpose: Sample, a: int, b: int, count: int) -> np.ndarray:
    """float64 [count]: draws of `gaussian_table`."""
    places = (uniforms(master, purpose, a, b, count) * QUANTILES).astype(np.int64)
    return gaussian_table()[places].astype(np.float64)


# --- the cipher, and the table of normal quantiles --------------------------------------------------------------------

M0, M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
W0, W1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
ROUNDS = 10
MASK = 2**64 - 1

QUANTILES = 4096
_SCALE = 0.99983971099263947712  # brings the variance of the mid-point quantiles to 1
_TABLE_SHA256 = "87d2297bd6f503ad9b582cb87a6d8d21e20633747144ac688b90f4efcde6a2e8"


def first_words(counters: tuple[np.ndarray, np.ndarray, np.ndarray], key: tuple[int, int]) -> np.ndarray:
    """The first word of each counter (c0, c1, c2, 0) under one key: uint64, in the shape to which the counters
    broadcast."""
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(part, dtype=np.uint64) for part in counters), np.uint64(0))
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

    numpy increments its counter before each group, so the start is lower by one.
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
        raise RuntimeError(
            "statistics.NormalDist of this Python gives other normal quantiles than the definition (SHA-256 of the "
            "table); use CPython on a machine with IEEE 754 arithmetic, or zo.distribution=rademacher"
        )
    table.setflags(write=False)
    return table
