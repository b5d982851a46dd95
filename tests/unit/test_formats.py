"""Packed formats: the bytes are those of a numpy reference, padding is zero, and what cannot be packed is refused."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.support.packed_reference import packed, unpacked
from zorba_ray.formats import PackedFormat, pack_into, slab, unpack_into, unpack_rows
from zorba_ray.formats.sizes import LEVELS

FORMATS: tuple[PackedFormat, ...] = ("int8", "nf4")
SHAPES = ((1, 1), (3, 5), (2, 64), (5, 63), (7, 65), (3, 4, 33), (2, 8192), (130, 129), (129, 257))
"""Around a row, a block of 64 and a group of 16,384."""


def matrix_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Magnitudes over 60 powers of two, with rows, blocks and a group of zeros, ties and negative zeros."""
    draw = np.random.default_rng(seed)
    matrix = draw.standard_normal(shape).astype(np.float32)
    flat = matrix.reshape(-1)
    flat *= np.float32(2) ** draw.integers(-30, 30, -(-flat.size // 64)).astype(np.float32).repeat(64)[: flat.size]
    flat[::7] = -0.0
    flat[3::11] = np.rint(flat[3::11]) / 2
    matrix[-1] = 0
    return matrix


def slab_of(matrix: np.ndarray, format: PackedFormat) -> torch.Tensor:
    found = torch.full((slab(format, matrix.shape).nbytes,), 0xAB, dtype=torch.uint8)
    pack_into(found, torch.from_numpy(matrix).flatten(), matrix.shape, format)
    return found


def image_of(matrix: np.ndarray, format: PackedFormat) -> np.ndarray:
    """The bytes that a slab must have, by the reference."""
    layout, parts = slab(format, matrix.shape), packed(matrix, format)
    image = np.zeros(layout.nbytes, dtype=np.uint8)
    for name, values in parts.items():
        image[getattr(layout, name)] = values.reshape(-1).view(np.uint8)
    return image


def values_of(found: torch.Tensor, shape: tuple[int, ...], format: PackedFormat, dtype: torch.dtype) -> torch.Tensor:
    target = torch.full((int(np.prod(shape)),), 7.0, dtype=dtype)
    unpack_into(target, found, shape, format)
    return target


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bytes_and_values_are_those_of_the_reference(format: PackedFormat, shape: tuple[int, ...]) -> None:
    """All bytes of a slab with other content before; fp32 values by bits, bfloat16 ones as torch rounds them."""
    matrix = matrix_of(shape)
    found = slab_of(matrix, format)
    assert np.array_equal(found.numpy(), image_of(matrix, format))
    wanted = torch.from_numpy(unpacked(packed(matrix, format), matrix.size))
    assert torch.equal(values_of(found, shape, format, torch.float32).view(torch.int32), wanted.view(torch.int32))
    narrow = values_of(found, shape, format, torch.bfloat16)
    assert torch.equal(narrow.view(torch.int16), wanted.to(torch.bfloat16).view(torch.int16))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("magnitude", [1e-45, 1e-38, 3e-37, 4e-37, 7e-37, 8e-37, 1e-30, 1e30, 2.0**127])
def test_the_ends_of_fp32(format: PackedFormat, magnitude: float) -> None:
    """Values too small for a finite reciprocal become zero, and the largest stay finite."""
    matrix = (np.linspace(-1, 1, 300) * magnitude).astype(np.float32).reshape(3, 100)
    found = slab_of(matrix, format)
    assert np.array_equal(found.numpy(), image_of(matrix, format))
    values = values_of(found, matrix.shape, format, torch.float32).numpy()
    assert np.isfinite(values).all()
    limit = {"int8": 127, "nf4": 255}[format] * 2.0**-128
    assert values.any() == (magnitude > limit)


@pytest.mark.parametrize("format", FORMATS)
def test_nearest_values(format: PackedFormat) -> None:
    """No other value that a row or block can have is nearer, but for the rounding of a product."""
    matrix = np.random.default_rng(1).standard_normal((40, 512)).astype(np.float32)
    found = slab_of(matrix, format)
    values = values_of(found, matrix.shape, format, torch.float32).numpy().reshape(matrix.shape)
    if format == "nf4":
        matrix, values = matrix.reshape(-1, 64), values.reshape(-1, 64)
    for wanted, row in zip(matrix, values, strict=True):
        step = np.abs(row).max() / 127
        choices = np.arange(-127, 128) * step if format == "int8" else np.array(LEVELS) * step * 127
        nearest = np.abs(wanted[:, None] - choices).min(axis=1)
        assert (np.abs(wanted - row) <= nearest + 1e-5 * step).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_int8(dtype: torch.dtype) -> None:
    """A slice of rows and chosen rows are those of the whole."""
    shape = (23, 70)
    found = slab_of(matrix_of(shape), "int8")
    whole = values_of(found, shape, "int8", dtype).view(shape)
    target = torch.empty(6 * 70, dtype=dtype)
    unpack_into(target, found, shape, "int8", (4, 10))
    assert torch.equal(target.view(6, 70), whole[4:10])
    rows = torch.tensor([22, 0, 5, 5])
    assert torch.equal(unpack_rows(found, shape, rows).to(dtype), whole[rows])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, 1.71e38])
@pytest.mark.parametrize("position", [0, 63, 20000, 20480])
def test_what_would_not_stay_finite_is_refused(format: PackedFormat, value: float, position: int) -> None:
    matrix = np.zeros((3, 6827), dtype=np.float32)
    matrix.reshape(-1)[position] = value
    with pytest.raises(ValueError, match=rf"shape \(3, 6827\) .* not finite, or beyond 1\.7e38: .* become {format}"):
        slab_of(matrix, format)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(1000, 1049), (3, 400001)], ids=str)
def test_threads_change_no_byte(format: PackedFormat, shape: tuple[int, ...]) -> None:
    """A value that is not finite is seen in the part of every thread."""
    matrix = matrix_of(shape)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = slab_of(matrix, format)
        matrix[-1, -1] = np.inf
        with pytest.raises(ValueError, match="not finite"):
            slab_of(matrix, format)
    finally:
        torch.set_num_threads(before)
    matrix[-1, -1] = 0
    assert np.array_equal(found.numpy(), image_of(matrix, format))


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_per_value(format: PackedFormat) -> None:
    """Of a matrix of OPT-1.3B."""
    assert slab(format, (2048, 8192)).nbytes / 2**24 == pytest.approx({"int8": 1.0005, "nf4": 0.5159}[format], abs=1e-4)


@pytest.mark.parametrize("format", FORMATS)
def test_fake_tensors_are_left_alone(format: PackedFormat) -> None:
    """A count of bytes runs the same code without memory."""
    shape = (6, 70)
    with FakeTensorMode():
        found = torch.empty(slab(format, shape).nbytes, dtype=torch.uint8)
        pack_into(found, torch.empty(420), shape, format)
        unpack_into(torch.empty(420, dtype=torch.bfloat16), found, shape, format)
        if format == "int8":
            assert unpack_rows(found, shape, torch.zeros(3, dtype=torch.long)).shape == (3, 70)
