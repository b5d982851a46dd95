"""Unpacks slabs on an accelerator: int8 by an operation of torch, nf4 by Triton's kernel.

Where Triton is missing, or its kernel differs from the CPU's, torch's operations unpack nf4 too, more slowly.
"""

import functools
import logging
from typing import Any

import torch

from zorba_ray.formats.sizes import BLOCK, GROUP, LEVELS

logger = logging.getLogger(__name__)

_BLOCKS = 32  # of a program: 1,024 bytes of codes
_PART = GROUP * BLOCK  # values of a group
_GROUPS = 64  # unpacked at a time by torch's operations: 2^20 values


def int8_on_device(target: torch.Tensor, scales: torch.Tensor, codes: torch.Tensor) -> None:
    """target [rows · n] (fp32 or bfloat16) ← codes int8 [rows, n] · scales fp32 [rows]."""
    torch.mul(codes, scales[:, None], out=target.view(codes.shape))


def nf4_on_device(target: torch.Tensor, scales: torch.Tensor, block_scales: torch.Tensor, codes: torch.Tensor) -> None:
    """target [n] (fp32 or bfloat16) ← level · (block scale · group scale); scales fp32, the others uint8."""
    countable = len(target) < 2**31  # the kernel counts in int32
    unpack = launch_nf4 if countable and kernel_works(target.device) else nf4_by_torch
    unpack(target, scales, block_scales, codes)


def launch_nf4(target: torch.Tensor, scales: torch.Tensor, block_scales: torch.Tensor, codes: torch.Tensor) -> None:
    """As `nf4_on_device`, by Triton's kernel; in its interpreter for tensors on the CPU."""
    from zorba_ray.formats.triton_kernels import nf4_values

    narrow = target.dtype == torch.bfloat16
    blocks = len(block_scales)
    kernel: Any = nf4_values
    with torch.cuda.device_of(target):
        kernel[(-(-blocks // _BLOCKS),)](
            target.view(torch.int16 if narrow else torch.int32),
            scales,
            block_scales,
            codes,
            _levels(target.device),
            len(target),
            blocks,
            len(codes),
            NARROW=narrow,
            BLOCKS=_BLOCKS,
            enable_fp_fusion=False,
        )


def nf4_by_torch(target: torch.Tensor, scales: torch.Tensor, block_scales: torch.Tensor, codes: torch.Tensor) -> None:
    """As `nf4_on_device`, by operations of torch, 2^20 values at a time."""
    levels = _levels(target.device)
    for first in range(0, len(scales), _GROUPS):
        part = target[first * _PART : (first + _GROUPS) * _PART]
        both = codes[first * _PART // 2 :][: -(-len(part) // 2)]
        values = levels[torch.stack((both & 15, both >> 4), dim=1).flatten().int()][: len(part)]
        unit = scales[first : first + _GROUPS].repeat_interleave(GROUP)
        scale = block_scales[first * GROUP :][: len(unit)]
        part.copy_(values * (scale * unit[: len(scale)]).repeat_interleave(BLOCK)[: len(part)])


@functools.cache
def kernel_works(device: torch.device) -> bool:
    """Whether Triton's kernel gives there what torch's operations give on the CPU; checked once per process."""
    scales, block_scales = torch.tensor([1e-3, 7e-4]), torch.arange(GROUP + 2).to(torch.uint8)
    codes = torch.arange((GROUP + 1) * BLOCK // 2 + 3).to(torch.uint8)
    try:
        for dtype in (torch.float32, torch.bfloat16):
            wanted = torch.empty(2 * len(codes) - 1, dtype=dtype)
            unpacked = torch.empty_like(wanted, device=device)
            nf4_by_torch(wanted, scales, block_scales, codes)
            launch_nf4(unpacked, *(part.to(device) for part in (scales, block_scales, codes)))
            if not torch.equal(unpacked.cpu().view(torch.uint8), wanted.view(torch.uint8)):
                logger.warning("Triton's kernel for nf4 differs from the CPU on %s; torch unpacks instead", device)
                return False
    except Exception as error:  # not installed, no C compiler, an old driver
        logger.info("nf4 is unpacked by torch on %s: Triton fails (%s: %s)", device, type(error).__name__, error)
        return False
    return True


@functools.cache
def _levels(device: torch.device) -> torch.Tensor:
    return torch.tensor(LEVELS, device=device)
