"""Packs a matrix on the CPU, and unpacks it on the device where it is read; the same bytes everywhere.

Unpacked values are fp32 products, each rounded once, and rounded once more where the target is bfloat16.
"""

import math

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from zorba_ray.directions.terms import flat_fp32, flat_scratch
from zorba_ray.formats.sizes import PackedFormat, slab


def pack_into(slab_u8: torch.Tensor, matrix: torch.Tensor, shape: tuple[int, ...], format: PackedFormat) -> None:
    """slab_u8 [slab(format, shape).nbytes] (uint8) ← matrix (fp32, flat, of this shape), both on the CPU.

    Padding bytes become zero. Fake tensors are left alone.

    Raises:
        ValueError: the matrix has NaN or infinite values. The slab's content is then undefined.
    """
    parts = slab(format, shape)
    assert slab_u8.shape == (parts.nbytes,), (slab_u8.shape, parts)
    assert matrix.numel() == math.prod(shape), (matrix.shape, shape)
    if isinstance(slab_u8, FakeTensor):
        return
    from zorba_ray.formats.numba_cpu import pack_int8, pack_nf4

    slab_u8.zero_()
    packed, values = slab_u8.numpy(), flat_fp32(matrix)
    scales, codes = packed[parts.scales].view(np.float32), packed[parts.codes]
    if format == "int8":
        rows = scales.size
        finite = pack_int8(scales, codes.view(np.int8).reshape(rows, -1), values.reshape(rows, -1))
    else:
        finite = pack_nf4(scales, packed[parts.block_scales], codes, values)
    if not finite:
        raise ValueError(f"a matrix of shape {tuple(shape)} has values that are not finite; it cannot become {format}")


def unpack_into(
    target: torch.Tensor,
    slab_u8: torch.Tensor,
    shape: tuple[int, ...],
    format: PackedFormat,
    rows: tuple[int, int] | None = None,
) -> None:
    """target (flat, fp32 or bfloat16) ← the values of a slab on the same device. Fake tensors are left alone.

    `rows`: only the rows from the first number up to the second, without it; int8 alone.
    """
    parts = slab(format, shape)
    columns = shape[-1]
    first, last = rows or (0, math.prod(shape) // columns)
    assert slab_u8.shape == (parts.nbytes,), (slab_u8.shape, parts)
    assert target.numel() == (last - first) * columns, (target.shape, shape, rows)
    assert rows is None or format == "int8", format
    if isinstance(target, FakeTensor):
        return
    from zorba_ray.formats.numba_cpu import unpack_int8, unpack_nf4

    out, narrow = flat_scratch(target), target.dtype == torch.bfloat16
    out = out if narrow else out.view(np.uint32)
    packed = slab_u8.numpy()
    scales, codes = packed[parts.scales].view(np.float32), packed[parts.codes]
    if format == "int8":
        codes = codes.view(np.int8).reshape(-1, columns)
        unpack_int8(out.reshape(-1, columns), scales[first:last], codes[first:last], narrow)
    else:
        unpack_nf4(out, scales, packed[parts.block_scales], codes, narrow)


def unpack_rows(slab_u8: torch.Tensor, shape: tuple[int, ...], rows: torch.Tensor) -> torch.Tensor:
    """Some rows of an int8 slab, as fp32 [n, columns] on its device; rows: int64 [n]."""
    parts = slab("int8", shape)
    codes = slab_u8[parts.codes].view(torch.int8).view(-1, shape[-1])
    scales = slab_u8[parts.scales].view(torch.float32)
    return codes[rows] * scales[rows, None]
