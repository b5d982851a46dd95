"""Triton's kernels for directions (`triton_cuda` launches them).

The first kernel writes Philox words to a workspace. The others turn them into ±c or gaussian terms and add these to θ.
Two kernels, because many threads share a word, and each would have to draw it again.

No kernel adds a product: ±c is c with its sign flipped by a bit, and a gaussian term comes from a table scaled
beforehand. So the compiler cannot form a fused multiply-add, which would round differently.

Shapes: a program of the expanding kernels has ELEMENTS, a row for each word: 32 columns are the signs of a 32-bit word,
4 the gaussian entries of a 64-bit word. So a thread has whole vectors of θ, and few words for them.
"""

import triton  # pyright: ignore[reportMissingImports]  (comes with torch's wheels for CUDA)
import triton.language as tl  # pyright: ignore[reportMissingImports]

from zorba_ray.directions.streams import KEY1, M0, M1, ROUNDS, W0, W1

_M0, _M1, _W0, _W1 = (tl.constexpr(value) for value in (M0, M1, W0, W1))
_K1, _ROUNDS = tl.constexpr(KEY1), tl.constexpr(ROUNDS)


@triton.jit
def _philox(c0, c1, c2, k0):
    """The four words of counters (c0, c1, c2, 0) under key (k0, KEY1), all uint64."""
    c3 = c0 ^ c0
    k1 = c3 + _K1
    k0 = c3 + k0  # a block, not a scalar: sums wrap in the interpreter, too
    for _ in tl.static_range(_ROUNDS):  # pyright: ignore[reportGeneralTypeIssues]
        low0, high0 = c0 * _M0, tl.umulhi(c0, c3 * 0 + _M0)
        low1, high1 = c2 * _M1, tl.umulhi(c2, c3 * 0 + _M1)
        c0 = high1 ^ c1 ^ k0
        c1 = low1
        c2 = high0 ^ c3 ^ k1
        c3 = low0
        k0 += _W0
        k1 += _W1
    return c0, c1, c2, c3


@triton.jit(do_not_specialize=["first", "groups"])
def write_words(words, keys, first, groups, GROUPS: tl.constexpr):
    """words int64 [seeds, 4 · groups] ← counters first, first + 1, …; keys int64 [seeds, 3] = (k0, c1, c2)."""
    seed = tl.program_id(1)
    start = tl.program_id(0) * GROUPS
    block = tl.arange(0, GROUPS).to(tl.uint64)
    k0 = tl.load(keys + 3 * seed).to(tl.uint64, bitcast=True)
    c1 = tl.load(keys + 3 * seed + 1).to(tl.uint64, bitcast=True)
    c2 = tl.load(keys + 3 * seed + 2).to(tl.uint64, bitcast=True)
    c0 = block + (first.to(tl.int64) + start).to(tl.uint64)
    nothing = block ^ block
    w0, w1, w2, w3 = _philox(c0, nothing + c1, nothing + c2, k0)  # pyright: ignore[reportGeneralTypeIssues]
    # The four words of a counter stand side by side, so that a thread stores whole groups.
    drawn = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))
    column = 4 * start + tl.arange(0, 4 * GROUPS)
    tl.store(words + seed * 4 * groups + column, drawn.to(tl.int64, bitcast=True), mask=column < 4 * groups)


@triton.jit
def _narrow(value):
    """fp32 -> bfloat16 bits in the lower half of uint32, half to even, by integers; finite input."""
    bits = value.to(tl.uint32, bitcast=True)
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


@triton.jit
def _terms(words, values, row, column, last, GAUSSIAN: tl.constexpr):
    """c z of one seed, fp32, a row for each word. values: c, or for gaussian the table times c.

    Rows behind entry `last` − 1, which have no words, are given those of the row in which it is.
    """
    if GAUSSIAN:
        word = tl.load(words + tl.minimum(row, (last - 1) // 4)).to(tl.uint64, bitcast=True)
        index = (word[:, None] >> (16 * column + 4).to(tl.uint64)[None, :]) & 0xFFF
        term = tl.load(values + index.to(tl.int32))
    else:
        word = tl.load(words + tl.minimum(row, (last - 1) // 32)).to(tl.uint32, bitcast=True)
        plus = (word[:, None] << (31 - column)[None, :]) & 0x80000000
        minus = plus ^ 0x80000000  # the sign bit where the bit is clear
        term = (tl.load(values).to(tl.uint32, bitcast=True) ^ minus).to(tl.float32, bitcast=True)
    return term


@triton.jit
def perturb(
    scratch, theta, words, values, lead, size, GAUSSIAN: tl.constexpr, NARROW: tl.constexpr, ELEMENTS: tl.constexpr
):
    """scratch [size] ← RN(θ̄ + c z). The first `lead` entries of the words lie before the shard.

    NARROW: scratch is bfloat16, as int16 bits.
    """
    LANES: tl.constexpr = 4 if GAUSSIAN else 32  # pyright: ignore[reportAssignmentType]
    row = tl.program_id(0) * (ELEMENTS // LANES) + tl.arange(0, ELEMENTS // LANES)
    column = tl.arange(0, LANES)
    element = row[:, None] * LANES + column[None, :] - lead
    inside = (element >= 0) & (element < size)
    value = tl.load(theta + element, mask=inside, other=0.0)
    if NARROW:
        value = (_narrow(value) << 16).to(tl.float32, bitcast=True)
    value += _terms(words, values, row, column, lead + size, GAUSSIAN)
    if NARROW:
        tl.store(scratch + element, _narrow(value).to(tl.uint16).to(tl.int16, bitcast=True), mask=inside)
    else:
        tl.store(scratch + element, value, mask=inside)


@triton.jit(do_not_specialize=["ends", "commits", "first", "seeds"])
def commit(
    theta,
    carry,
    words,
    values,
    ends,
    commits,
    first,
    seeds,
    stride,
    lead,
    size,
    GAUSSIAN: tl.constexpr,
    WIDTH: tl.constexpr,
    CARRIED: tl.constexpr,
    OPEN: tl.constexpr,
    ELEMENTS: tl.constexpr,
):
    """acc += c_k z_k for the seeds first, first + 1, … of one launch; where a commit ends: θ ← RN(θ + acc), acc ← 0.

    ends: int32 [commits], the index after the last seed of each commit that ends in this launch.
    CARRIED: the first commit began in an earlier launch; its acc is read from carry.
    OPEN: the last commit ends in a later launch; its acc is written to carry.
    """
    LANES: tl.constexpr = 4 if GAUSSIAN else 32  # pyright: ignore[reportAssignmentType]
    row = tl.program_id(0) * (ELEMENTS // LANES) + tl.arange(0, ELEMENTS // LANES)
    column = tl.arange(0, LANES)
    element = row[:, None] * LANES + column[None, :] - lead
    inside = (element >= 0) & (element < size)
    value = tl.load(theta + element, mask=inside, other=0.0)
    # Zeros, tied to θ so that sums are in the registers in which θ is, and a thread needs few words for its elements.
    # With `tl.zeros` it would load a word for each of them, and each commit would go through shared memory.
    nothing = tl.where(inside, 0.0, value)
    total = tl.load(carry + element, mask=inside, other=0.0) if CARRIED else nothing
    start = 0
    for ended in range(commits):
        end = (tl.load(ends + ended) - first).to(tl.int32)
        for seed in range(start, end):
            total += _terms(words + seed * stride, values + seed * WIDTH, row, column, lead + size, GAUSSIAN)
        value += total
        total = nothing
        start = end
    tl.store(theta + element, value, mask=inside)
    if OPEN:
        for seed in range(start, seeds):
            total += _terms(words + seed * stride, values + seed * WIDTH, row, column, lead + size, GAUSSIAN)
        tl.store(carry + element, total, mask=inside)
