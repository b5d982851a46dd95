"""Flat numpy views of CPU tensors, and rounding to bfloat16."""

import numpy as np
import torch


def flat_fp32(tensor: torch.Tensor) -> np.ndarray:
    """The memory of a contiguous fp32 CPU tensor as float32 [numel], shared, not copied."""
    assert tensor.dtype == torch.float32, tensor.dtype
    assert tensor.is_contiguous(), tensor.stride()
    return tensor.detach().numpy().reshape(-1)


def flat_scratch(tensor: torch.Tensor) -> np.ndarray:
    """As `flat_fp32`; a bfloat16 tensor is seen as uint16 bit patterns."""
    assert tensor.is_contiguous(), tensor.stride()
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(np.uint16).reshape(-1)
    return flat_fp32(tensor)


def round_to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 [n] -> uint16 [n], the bfloat16 bit patterns, round half to even; finite input."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
