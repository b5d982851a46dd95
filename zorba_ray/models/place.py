"""Where a tensor lies in memory; said of tensors without memory too, as a client's bytes are counted with those."""

import torch
from torch._subclasses.fake_tensor import FakeTensor

ALIGNMENT = 64
"""Bytes. Matrix kernels may answer differently at other alignments."""


def place(tensor: torch.Tensor) -> tuple[int, int]:
    """Storage and offset where a tensor begins: equal for two views that begin at one place, as tied weights do."""
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())


def is_aligned(tensor: torch.Tensor) -> bool:
    """Whether it begins at a multiple of 64 bytes; a tensor without memory has no address that could be wrong."""
    return isinstance(tensor, FakeTensor) or tensor.data_ptr() % ALIGNMENT == 0
