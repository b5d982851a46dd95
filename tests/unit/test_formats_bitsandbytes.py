"""bitsandbytes as the judge of the packed formats: equal codes where its scales are exact, equal errors elsewhere."""

from typing import Any

import numpy as np
import pytest
import torch

from zorba_ray.formats import PackedFormat, pack_into, slab, unpack_into

pytestmark = pytest.mark.slow  # importing bitsandbytes takes seconds

SHAPE = (256, 1024)


@pytest.fixture
def functional() -> Any:
    """The judge; not imported when the file is collected."""
    return pytest.importorskip("bitsandbytes.functional", reason="needs bitsandbytes (pip install bitsandbytes)")


def ours(matrix: torch.Tensor, format: PackedFormat) -> tuple[torch.Tensor, torch.Tensor]:
    """(bytes of codes, values) of a matrix."""
    parts = slab(format, SHAPE)
    packed, values = torch.empty(parts.nbytes, dtype=torch.uint8), torch.empty(matrix.numel())
    pack_into(packed, matrix.flatten(), SHAPE, format)
    unpack_into(values, packed, SHAPE, format)
    return packed[parts.codes], values.view(SHAPE)


def gaussian(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)) * 0.02


def test_nf4_with_exact_scales_is_the_same(functional: Any) -> None:
    """Blocks whose largest magnitude is ½ under a group's 255/256: both scales are powers of two."""
    blocks = gaussian().view(-1, 64).clamp(-0.4, 0.4)
    blocks[:, 5], blocks[::256, 5] = -0.5, 255 / 256
    codes, values = ours(blocks.view(SHAPE), "nf4")
    theirs, state = functional.quantize_4bit(blocks.view(SHAPE), blocksize=64, quant_type="nf4")
    swapped = (theirs.flatten() & 15) << 4 | theirs.flatten() >> 4  # there the first value is in the upper half
    exact = torch.arange(len(blocks)) % 256 != 0
    assert torch.equal(codes.view(-1, 32)[exact], swapped.view(-1, 32)[exact])
    judged = functional.dequantize_4bit(theirs, state)
    assert torch.equal(values.view(-1, 64)[exact], judged.view(-1, 64)[exact])


def test_errors_of_nf4_are_no_larger(functional: Any) -> None:
    """On a gaussian matrix, against bitsandbytes with 8-bit scales (blocks of 256 and a mean)."""
    matrix = gaussian()
    _, values = ours(matrix, "nf4")
    theirs = functional.quantize_4bit(matrix, blocksize=64, quant_type="nf4", compress_statistics=True)
    error, judged = ((found - matrix).norm() / matrix.norm() for found in (values, functional.dequantize_4bit(*theirs)))
    assert judged == pytest.approx(0.092, abs=0.002)
    assert error <= 1.001 * judged


def test_codes_of_int8_are_the_same(functional: Any) -> None:
    """On values that fp16 holds, which is all that bitsandbytes takes. It may round a tie of a product otherwise."""
    matrix = gaussian().half()
    codes, _ = ours(matrix.float(), "int8")
    theirs, scales, _ = functional.int8_vectorwise_quant(matrix)
    assert torch.equal(scales, matrix.float().abs().amax(dim=1))
    differ = codes.view(torch.int8).view(SHAPE).int() - theirs
    assert differ.abs().max() <= 1
    assert differ.count_nonzero() <= 1e-4 * matrix.numel()
