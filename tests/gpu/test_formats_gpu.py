"""Packed formats unpacked on a CUDA device: the bytes are those of the CPU. Skips without a device."""

import pytest
import torch

from zorba_ray.formats import PackedFormat, pack_into, slab, unpack_into, unpack_rows
from zorba_ray.formats.on_device import kernel_works

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("format", ["int8", "nf4"])
def test_same_bytes_as_on_the_cpu(format: PackedFormat, dtype: torch.dtype) -> None:
    shape = (130, 2051)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    here, wanted = torch.empty(slab(format, shape).nbytes, dtype=torch.uint8), torch.empty(matrix.numel(), dtype=dtype)
    pack_into(here, matrix.flatten(), shape, format)
    unpack_into(wanted, here, shape, format)
    there, found = here.cuda(), torch.empty_like(wanted, device="cuda")
    unpack_into(found, there, shape, format)
    assert torch.equal(found.cpu().view(torch.uint8), wanted.view(torch.uint8))
    assert kernel_works(found.device)
    if format == "int8":
        rows = torch.tensor([129, 0, 7])
        assert torch.equal(unpack_rows(there, shape, rows.cuda()).cpu(), unpack_rows(here, shape, rows))
