"""Directions for tensors on a CUDA device: the bytes are those of the CPU. Skips without a device."""

import numpy as np
import pytest
import torch

from zorba_ray.directions import Distribution, Terms, direction_backend, tensor_stream

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_bytes_as_on_the_cpu(distribution: Distribution, dtype: torch.dtype) -> None:
    there, here = direction_backend("auto", "cuda"), direction_backend("numpy")
    theta = torch.randn(9001, generator=torch.Generator().manual_seed(0))
    stream = tensor_stream(1, 2, 3, 0, distribution)
    coefficients = np.float32(1e-3) * np.arange(1, 6, dtype=np.float32)
    terms = Terms(np.ones(5, np.uint64), np.arange(5, dtype=np.uint64), coefficients, distribution)
    wanted, got = torch.empty(9001, dtype=dtype), torch.empty(9001, dtype=dtype, device="cuda")
    on_device = theta.cuda()
    here.perturb_into(wanted, theta, stream, -1e-3, 17)
    there.perturb_into(got, on_device, stream, -1e-3, 17)
    assert torch.equal(got.cpu().view(torch.int16), wanted.view(torch.int16))
    assert torch.equal(on_device.cpu(), theta)
    here.apply_commits(theta, 2, 3, [terms], 17)
    there.apply_commits(on_device, 2, 3, [terms], 17)
    assert torch.equal(on_device.cpu().view(torch.int32), theta.view(torch.int32))
