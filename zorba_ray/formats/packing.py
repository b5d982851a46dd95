"""Packs a matrix on the CPU, and unpacks it on the device where it is read; the same bytes everywhere.

Unpacked values are fp32 products, each rounded once, and rounded once more where the target is bfloat16.
"""

import functools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor

from zorba_ray.directions.terms import flat_fp32, flat_scratch
from zorba_ray.formats.on_device import int8_on_device, nf4_on_device
from zorba_ray.formats.sizes import BLOCK, GROUP, PackedFormat, slab

_VALUES_OF_A_THREAD = 2**18
"""At least; fewer take less time than waking a thread."""


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="pack")


def pack_into(slab_u8: torch.Tensor, matrix: torch.Tensor, shape: tuple[int, ...], format: PackedFormat) -> None:
    """slab_u8 [slab(format, shape).nbytes] (uint8) ← matrix (fp32, flat, of this shape), both on the CPU.

    Padding bytes become zero. Large matrices are packed by as many threads as torch uses; the bytes do not depend on
    it. Fake tensors are left alone.

    Raises:
        ValueError: a value is NaN, infinite, or above 2^127 in magnitude. The slab's content is then undefined.
    """
    parts = slab(format, shape)
    assert slab_u8.shape == (parts.nbytes,), (slab_u8.shape, parts)
    assert matrix.numel() == math.prod(shape), (matrix.shape, shape)
    if isinstance(slab_u8, FakeTensor):
        return
    from zorba_ray.formats.numba_cpu import pack_int8, pack_nf4

    slab_u8.zero_()
    packed, values = slab_u8.numpy(), flat_fp32(matrix)
    scales, block_scales, codes = packed[parts.scales].view(np.float32), packed[parts.block_scales], packed[parts.codes]
    if format == "int8":
        codes, values = codes.view(np.int8).reshape(-1, shape[-1]), values.reshape(-1, shape[-1])

    def pack(first: int, last: int) -> bool:
        """Packs rows, or groups of blocks, from the first number up to the second, without it."""
        if format == "int8":
            return pack_int8(scales[first:last], codes[first:last], values[first:last])
        blocks, numbers = (slice(first * size, last * size) for size in (GROUP, GROUP * BLOCK))
        halves = slice(numbers.start // 2, numbers.stop // 2)
        return pack_nf4(scales[first:last], block_scales[blocks], codes[halves], values[numbers])

    threads = max(1, min(torch.get_num_threads(), len(scales), values.size // _VALUES_OF_A_THREAD))
    edges = [len(scales) * number // threads for number in range(threads + 1)]
    finite = all(list(_pool(threads).map(pack, edges, edges[1:]))) if threads > 1 else pack(*edges)
    if not finite:
        raise ValueError(
            f"a matrix of shape {tuple(shape)} has values that are not finite, or beyond 1.7e38: "
            f"it cannot become {format}"
        )


def packed(matrix: torch.Tensor, shape: tuple[int, ...], format: PackedFormat) -> torch.Tensor:
    """The slab of a matrix, as `pack_into`.

    Raises:
        ValueError: as `pack_into`.
    """
    made = torch.empty(slab(format, shape).nbytes, dtype=torch.uint8)
    pack_into(made, matrix, shape, format)
    return made


def round_trip(matrix: torch.Tensor, shape: tuple[int, ...], format: PackedFormat) -> torch.Tensor:
    """What a matrix (fp32, flat, on the CPU) is after it was packed: fp32, flat.

    Raises:
        ValueError: as `pack_into`.
    """
    values = torch.empty_like(matrix)
    unpack_into(values, packed(matrix, shape, format), shape, format)
    return values


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
    scales = slab_u8[parts.scales].view(torch.float32)
    block_scales, codes = slab_u8[parts.block_scales], slab_u8[parts.codes]
    if format == "int8":
        scales, codes = scales[first:last], codes.view(torch.int8).view(-1, columns)[first:last]
    if target.device.type != "cpu":
        if format == "int8":
            int8_on_device(target, scales, codes)
        else:
            nf4_on_device(target, scales, block_scales, codes)
        return
    from zorba_ray.formats.numba_cpu import unpack_int8, unpack_nf4

    narrow = target.dtype == torch.bfloat16
    out = flat_scratch(target) if narrow else flat_scratch(target).view(np.uint32)
    if format == "int8":
        unpack_int8(out.reshape(codes.shape), scales.numpy(), codes.numpy(), narrow)
    else:
        unpack_nf4(out, scales.numpy(), block_scales.numpy(), codes.numpy(), narrow)


def unpack_rows(slab_u8: torch.Tensor, shape: tuple[int, ...], rows: torch.Tensor) -> torch.Tensor:
    """Some rows of an int8 slab, as fp32 [n, columns] on its device; rows: int64 [n]."""
    parts = slab("int8", shape)
    codes = slab_u8[parts.codes].view(torch.int8).view(-1, shape[-1])
    scales = slab_u8[parts.scales].view(torch.float32)
    return codes[rows] * scales[rows, None]
