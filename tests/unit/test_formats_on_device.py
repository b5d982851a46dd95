"""Unpacking for an accelerator, without one: torch's operations, and Triton's kernel in its interpreter.

The kernel's machine code: test_triton_code.py. On a CUDA device: tests/gpu/test_formats_gpu.py.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zorba_ray.formats import PackedFormat, on_device, pack_into, slab, unpack_into
from zorba_ray.formats.on_device import int8_on_device, launch_nf4, nf4_by_torch

ROOT = Path(__file__).parents[2]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SHAPES = ((3, 5), (5, 63), (129, 257), (130, 2050))
DTYPES = (torch.float32, torch.bfloat16)
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def case(shape: tuple[int, int], format: PackedFormat, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """(what the CPU unpacks, fp32 scales, 8-bit scales, codes) of a matrix with many magnitudes."""
    draw = np.random.default_rng(3)
    matrix = draw.standard_normal(shape) * np.exp2(draw.integers(-130, 30, shape[0]))[:, None]
    parts = slab(format, shape)
    packed, wanted = torch.empty(parts.nbytes, dtype=torch.uint8), torch.empty(shape[0] * shape[1], dtype=dtype)
    pack_into(packed, torch.from_numpy(matrix.astype(np.float32)).flatten(), shape, format)
    unpack_into(wanted, packed, shape, format)
    return wanted, packed[parts.scales].view(torch.float32), packed[parts.block_scales], packed[parts.codes]


def same_bytes(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.equal(found.view(torch.uint8), wanted.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_operations_of_torch_give_the_bytes_of_the_cpu(shape: tuple[int, int], dtype: torch.dtype) -> None:
    wanted, scales, _, codes = case(shape, "int8", dtype)
    found = torch.full_like(wanted, 7)
    int8_on_device(found, scales, codes.view(torch.int8).view(shape))
    assert same_bytes(found, wanted)
    wanted, *parts = case(shape, "nf4", dtype)
    found = torch.full_like(wanted, 7)
    nf4_by_torch(found, *parts)
    assert same_bytes(found, wanted)


@needs_triton
@pytest.mark.skipif(not INTERPRETED, reason="run by test_in_the_interpreter, with TRITON_INTERPRET=1")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
def test_the_kernel_gives_the_bytes_of_the_cpu(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Nothing beyond the target is written; the check before the first use agrees."""
    wanted, *parts = case(shape, "nf4", dtype)
    room = torch.full((len(wanted) + 64,), 7, dtype=dtype)
    launch_nf4(room[:-64], *parts)
    assert same_bytes(room[:-64], wanted)
    assert (room[-64:] == 7).all()
    assert on_device.kernel_works(torch.device("cpu"))


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_in_the_interpreter() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "the_kernel_gives", __file__],
        cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    assert "passed" in ran.stdout
    assert "skipped" not in ran.stdout


def test_where_triton_fails_torch_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the kernel raises, or if it gives other bytes, is a reason and not a crash."""

    def differs(target: torch.Tensor, *parts: torch.Tensor) -> None:
        nf4_by_torch(target, *parts)
        target[-1] += 1

    def raises(target: torch.Tensor, *parts: torch.Tensor) -> None:
        raise RuntimeError("no device")

    for kernel in (differs, raises):
        monkeypatch.setattr(on_device, "launch_nf4", kernel)
        on_device.kernel_works.cache_clear()
        wanted, *parts = case((5, 63), "nf4", torch.float32)
        found = torch.empty_like(wanted)
        on_device.nf4_on_device(found, *parts)
        assert same_bytes(found, wanted)
    on_device.kernel_works.cache_clear()
