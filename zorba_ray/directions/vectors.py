"""The parts of the numba kernels that are written as LLVM vector instructions.

`draw_groups`: Philox4x64-10 for eight counters at once. A 64 × 64 bit product is made of four 32 × 32 bit products,
which vector units have (AVX2: vpmuludq). On a CPU with AVX2 this takes 0.6 of the time of a loop over single counters.

`fold_signs`, `shift_row`, `stream_row`: rows of 32 signs. One 32-bit word of the stream holds the signs of 32 elements.
In a vector of 32 lanes, lane j is the word shifted left by 31 − j. So bit j stands where a float has its sign bit.
An exclusive or of that bit with −c gives +c where the bit is set, and −c where it is not.

That is four vector operations per seed (shift, and, xor, add), without a table or a branch. The accumulators stay in
registers over all seeds. LLVM splits the 32 lanes into the vectors of the machine (4 × AVX2, 2 × AVX-512, 8 × NEON).
Sums are never reordered or fused: a lane adds its terms one by one, in order.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _typed_intrinsic

from zorba_ray.directions.streams import KEY1, M0, M1, MASK, ROUNDS, W0, W1

intrinsic: Any = _typed_intrinsic  # the caller does not pass the typing context

GROUPS = 8
"""Counters per call of `draw_groups`."""
LANES = 32
STREAM_ALIGNMENT = 64
"""Bytes; a cache line."""

_F32, _I32, _I16, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(16), ir.IntType(64)
_WORDS = ir.VectorType(_I64, GROUPS)
_FLOATS, _INTS, _HALVES = (ir.VectorType(kind, LANES) for kind in (_F32, _I32, _I16))


def _constant(kind: Any, value: int) -> Any:
    """All lanes of a vector type equal `value`."""
    return ir.Constant(kind, [value] * kind.count)


def _shuffle(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(places)), places))


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    """A vector whose lanes all equal `value`."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    return _shuffle(builder, builder.insert_element(nothing, value, ir.Constant(_I32, 0)), nothing, [0] * lanes)


_LOW, _HALF = _constant(_WORDS, 0xFFFFFFFF), _constant(_WORDS, 32)


def _product(b: Any, factor: int, x: Any) -> tuple[Any, Any]:
    """(upper, lower) 64 bits of factor · x."""
    small, large = _constant(_WORDS, factor & 0xFFFFFFFF), _constant(_WORDS, factor >> 32)
    x_small, x_large = b.and_(x, _LOW), b.lshr(x, _HALF)
    lowest = b.mul(small, x_small)
    middle = b.add(b.mul(small, x_large), b.lshr(lowest, _HALF))
    second = b.add(b.mul(large, x_small), b.and_(middle, _LOW))
    upper = b.add(b.mul(large, x_large), b.add(b.lshr(middle, _HALF), b.lshr(second, _HALF)))
    return upper, b.or_(b.shl(second, _HALF), b.and_(lowest, _LOW))


@intrinsic
def draw_groups(typingctx: Any, out: Any, at: Any, first: Any, k0: Any, c1: Any, c2: Any):
    """out[at : at + 32] ← the words of counters first … first + 7 (uint64 arrays and scalars; at: int64)."""

    def build(context: Any, b: Any, signature: Any, args: Any) -> Any:
        start = context.make_array(signature.args[0])(context, b, value=args[0]).data
        at, first, key, c1, c2 = args[1:]
        x0 = b.add(_splat(b, first, GROUPS), ir.Constant(_WORDS, list(range(GROUPS))))
        x1, x2, x3 = _splat(b, c1, GROUPS), _splat(b, c2, GROUPS), _constant(_WORDS, 0)
        for number in range(ROUNDS):
            high0, low0 = _product(b, M0, x0)
            high1, low1 = _product(b, M1, x2)
            x0 = b.xor(b.xor(high1, x1), _splat(b, key, GROUPS))
            x2 = b.xor(b.xor(high0, x3), _constant(_WORDS, (KEY1 + number * W1) & MASK))
            x1, x3 = low1, low0
            key = b.add(key, ir.Constant(_I64, W0))
        # The four words of a counter stand side by side.
        pairs = list(range(2 * GROUPS))
        places = [group + word * GROUPS for group in range(GROUPS) for word in range(4)]
        words = _shuffle(b, _shuffle(b, x0, x1, pairs), _shuffle(b, x2, x3, pairs), places)
        b.store(words, b.bitcast(b.gep(start, [at]), words.type.as_pointer()), align=8)
        return context.get_dummy_value()

    word = types.uint64
    return types.void(out, types.int64, word, word, word, word), build


def _signed(builder: Any, word: Any, negative: Any) -> Any:
    """<32 x float>: +c where the word's bit is set, −c elsewhere; `negative` is −c as <32 x i32>."""
    places = ir.Constant(_INTS, [LANES - 1 - lane for lane in range(LANES)])
    bits = builder.and_(builder.shl(_splat(builder, word, LANES), places), _constant(_INTS, 1 << 31))
    return builder.bitcast(builder.xor(bits, negative), _FLOATS)


def _negated(builder: Any, value: Any) -> Any:
    """−value in all lanes, as <32 x i32>."""
    bits = builder.xor(builder.bitcast(value, _I32), ir.Constant(_I32, 1 << 31))
    return _splat(builder, bits, LANES)


def _start(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Address of an array's first element."""
    return context.make_array(kind)(context, builder, value=value).data


def _vector_at(builder: Any, start: Any, index: Any, vector: Any) -> Any:
    """Address of lanes index … index + 31."""
    return builder.bitcast(builder.gep(start, [index]), vector.as_pointer())


def _through_bf16(builder: Any, floats: Any) -> Any:
    """bfloat16 bit patterns of finite floats in the low half of <32 x i32>, half to even."""
    bits = builder.bitcast(floats, _INTS)
    odd = builder.and_(builder.lshr(bits, _constant(_INTS, 16)), _constant(_INTS, 1))
    return builder.lshr(builder.add(bits, builder.add(odd, _constant(_INTS, 0x7FFF))), _constant(_INTS, 16))


@intrinsic
def fold_signs(typingctx: Any, acc: Any, at: Any, bits: Any, row: Any, stride: Any, coefs: Any, first: Any, last: Any):
    """acc[at : at + 32] += Σ_k ±coefs[k], k = first … last − 1, signs from bits[(k − first) · stride + row].

    acc, coefs: float32 [·]; bits: int32 [·].
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        acc_at = _start(context, builder, kinds[0], args[0])
        bits_at = _start(context, builder, kinds[2], args[2])
        coefs_at = _start(context, builder, kinds[5], args[5])
        at, row, stride, first, last = args[1], args[3], args[4], args[6], args[7]
        target = _vector_at(builder, acc_at, at, _FLOATS)
        before = builder.load(target, align=4)
        entry = builder.block
        body, after = builder.append_basic_block("seed"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", first, last), body, after)
        builder.position_at_end(body)
        k, word_index, total = builder.phi(_I64), builder.phi(_I64), builder.phi(_FLOATS)
        word = builder.load(builder.gep(bits_at, [word_index]))
        negative = _negated(builder, builder.load(builder.gep(coefs_at, [k])))
        added = builder.fadd(total, _signed(builder, word, negative))
        following = builder.add(k, ir.Constant(_I64, 1))
        for phi, begin, again in (
            (k, first, following),
            (word_index, row, builder.add(word_index, stride)),
            (total, before, added),
        ):
            phi.add_incoming(begin, entry)
            phi.add_incoming(again, body)
        builder.cbranch(builder.icmp_signed("<", following, last), body, after)
        builder.position_at_end(after)
        result = builder.phi(_FLOATS)
        result.add_incoming(before, entry)
        result.add_incoming(added, body)
        builder.store(result, target, align=4)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(acc, i64, bits, i64, i64, coefs, i64, i64), build


def _shift(streamed: bool) -> Any:
    """Builds the intrinsic `shift_row`, or `stream_row` (`streamed`), whose stores go past the caches."""

    def shift(typingctx: Any, out: Any, theta: Any, at: Any, word: Any, step: Any):
        narrow = out.dtype == types.uint16

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds = signature.args
            source = _vector_at(builder, _start(context, builder, kinds[1], args[1]), args[2], _FLOATS)
            values = builder.load(source, align=4)
            if narrow:
                wide = builder.shl(_through_bf16(builder, values), _constant(_INTS, 16))
                values = builder.bitcast(wide, _FLOATS)
            moved = builder.fadd(values, _signed(builder, args[3], _negated(builder, args[4])))
            if narrow:
                moved = builder.trunc(_through_bf16(builder, moved), _HALVES)
            width = 2 if narrow else 4
            target = _vector_at(builder, _start(context, builder, kinds[0], args[0]), args[2], moved.type)
            store = builder.store(moved, target, align=STREAM_ALIGNMENT if streamed else width)
            if streamed:
                store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_I32, 1)]))
            return context.get_dummy_value()

        return types.void(out, theta, types.int64, types.int32, types.float32), build

    return intrinsic(shift)


shift_row = _shift(streamed=False)
"""shift_row(out, theta, at, word, step): out[at : at + 32] ← theta[at : at + 32] ± step by the bits of `word` (int32).

theta: float32. out: float32, or uint16 for bfloat16 bit patterns. For bfloat16, θ is rounded, moved and rounded again.
"""

stream_row = _shift(streamed=True)
"""`shift_row` whose stores do not first load the cache lines that they overwrite: a third less memory traffic where
`out` is larger than the caches. The address of out[at] must be a multiple of STREAM_ALIGNMENT. Call `settle_stores`
after the last one."""


@intrinsic
def settle_stores(typingctx: Any):
    """Waits for the stores of `stream_row`; without it other threads may see old values."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), build
