"""Packed formats on drawn matrices: the bytes of the reference, whatever the values, the shape and what was there."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support.packed_reference import packed, unpacked
from zorba_ray.formats import PackedFormat, pack_into, slab, unpack_into

formats = st.sampled_from(["int8", "nf4"])
matrices = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 150)),
    elements=st.floats(-(2.0**127), 2.0**127, width=32),
)


@settings(max_examples=60, deadline=None)
@given(matrices, formats, st.integers(0, 255))
def test_bytes_are_those_of_the_reference(matrix: np.ndarray, format: PackedFormat, before: int) -> None:
    layout, parts = slab(format, matrix.shape), packed(matrix, format)
    image = np.zeros(layout.nbytes, dtype=np.uint8)
    for name, values in parts.items():
        image[getattr(layout, name)] = values.reshape(-1).view(np.uint8)
    found = torch.full((layout.nbytes,), before, dtype=torch.uint8)
    pack_into(found, torch.from_numpy(matrix).flatten(), matrix.shape, format)
    assert np.array_equal(found.numpy(), image)
    values = torch.empty(matrix.size)
    unpack_into(values, found, matrix.shape, format)
    assert np.array_equal(values.numpy().view(np.uint32), unpacked(parts, matrix.size).view(np.uint32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-20, 20), formats)
def test_powers_of_two_and_signs_pass_through(seed: int, exponent: int, format: PackedFormat) -> None:
    """Values of 2^k · W are 2^k · the values of W. int8 is symmetric: those of −W are the negatives. nf4 is not."""
    matrix = np.random.default_rng(seed).standard_normal((3, 150)).astype(np.float32)
    factors = [2.0**exponent] + ([-1.0] if format == "int8" else [])
    for factor in factors:
        plain, scaled = (_through(part, format) for part in (matrix, matrix * np.float32(factor)))
        assert np.array_equal(plain * np.float32(factor), scaled)


def _through(matrix: np.ndarray, format: PackedFormat) -> np.ndarray:
    """The values that remain of a matrix."""
    found, values = torch.empty(slab(format, matrix.shape).nbytes, dtype=torch.uint8), torch.empty(matrix.size)
    pack_into(found, torch.from_numpy(matrix).flatten(), matrix.shape, format)
    unpack_into(values, found, matrix.shape, format)
    return values.numpy()
