"""A leaf module on [x⁺; x⁻] with low-rank directions: the plain product on both halves, and a rank-r correction.

y± = x± (W ± μ U Vᵀ/√r)ᵀ + (b ± μ z_b) = x± Wᵀ + b ± [(x± V) μ/√r Uᵀ + μ z_b]

so no perturbed copy of a weight exists. A module that is neither `nn.Linear` nor GPT-2's `Conv1D` (x W + b) runs once
per sign with perturbed copies of its tensors, as with dense directions.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D


def is_linear(leaf: nn.Module) -> bool:
    """Whether the module computes x Wᵀ + b or x W + b and nothing else."""
    return type(leaf).forward in (nn.Linear.forward, Conv1D.forward)


def is_transposed(leaf: nn.Module) -> bool:
    """Whether it is x W + b."""
    return type(leaf).forward is Conv1D.forward


def linear_pair(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    factors: tuple[torch.Tensor, torch.Tensor] | None,
    bias_step: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """[y⁺; y⁻] for x = [x⁺; x⁻] along axis 0.

    Args:
        factors: U [m, r], V [n, r] for weight [m, n]; None: the weight is not perturbed.
        bias_step: μ z_b [m]; None: the bias is not perturbed.
        scale: μ.
    """
    if bias is None or bias.dtype == x.dtype:
        y = functional.linear(x, weight, bias)
    else:  # a 16-bit layer: the fp32 bias is added in fp32, and the sum is cast
        y = functional.linear(x, weight).add_(bias)
    plus, minus = y.chunk(2)
    if factors is not None:
        u, v = factors
        right, v = (u.T * (scale / math.sqrt(u.shape[1]))).to(x.dtype), v.to(x.dtype)
        x_plus, x_minus = (x @ v).chunk(2)
        plus += x_plus @ right
        minus -= x_minus @ right
    if bias_step is not None:
        plus += bias_step
        minus -= bias_step
    return y


def half_of(value: Any, rows: int, half: int) -> Any:
    """One half of a tensor that has the `rows` of the doubled batch; anything else as it is."""
    if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == rows:
        return value.chunk(2)[half]
    return value
