"""Directions for tensors on a CUDA device: the bytes are those of the CPU. Skips without a device."""

import pytest
import torch

from zorba_ray.directions import Distribution, Entry, direction_backend, tensor_stream

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_bytes_as_on_the_cpu(distribution: Distribution, dtype: torch.dtype) -> None:
    there, here = direction_backend("auto", "cuda"), direction_backend("numpy")
    theta = torch.randn(9001, generator=torch.Generator().manual_seed(0))
    listing = [Entry(tensor_stream(1, 2, 3, k, distribution), 1e-3 * (k + 1)) for k in range(5)]
    wanted, got = torch.empty(9001, dtype=dtype), torch.empty(9001, dtype=dtype, device="cuda")
    on_device = theta.cuda()
    here.perturb_into(wanted, theta, listing[0].stream, -1e-3, 17)
    there.perturb_into(got, on_device, listing[0].stream, -1e-3, 17)
    assert torch.equal(got.cpu().view(torch.int16), wanted.view(torch.int16))
    assert torch.equal(on_device.cpu(), theta)
    here.apply_commit(theta, listing, 17)
    there.apply_commit(on_device, listing, 17)
    assert torch.equal(on_device.cpu().view(torch.int32), theta.view(torch.int32))
