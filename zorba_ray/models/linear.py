"""Linear layers: how they are recognised, and their output along low-rank directions.

y± = x± (W ± μ U Vᵀ/√r)ᵀ + (b ± μ z_b) = x± Wᵀ + b ± [(x± V) μ/√r Uᵀ + μ z_b]

So a plain product on both halves of [x⁺; x⁻] and a correction of rank r are enough, and no perturbed copy of a weight
is needed. All other modules run once per sign with perturbed copies of their tensors, as with dense directions.
"""

import functools
import math

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional
from transformers.pytorch_utils import Conv1D


def is_linear(leaf: nn.Module) -> bool:
    """Whether the module computes x Wᵀ + b or x W + b and nothing else, apart from adapters."""
    kind = type(leaf)
    return kind.forward in (nn.Linear.forward, Conv1D.forward) or (isinstance(leaf, nn.Linear) and _is_plain(kind))


@functools.cache
def _is_plain(kind: type[nn.Linear]) -> bool:
    """Whether a subclass with another forward (as in Falcon) gives the same output as `nn.Linear`, on a small layer."""
    with unset_fake_temporarily(), torch.no_grad():
        layer, x = nn.Linear(4, 3), torch.linspace(-1.0, 1.0, 8).view(2, 4)
        layer.weight.copy_(torch.linspace(-1.0, 2.0, 12).view(3, 4))
        layer.bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
        expected = layer(x)
        layer.__class__ = kind
        try:
            return torch.allclose(kind.forward(layer, x), expected)
        except Exception:  # it needs attributes that a plain layer does not have
            return False


def is_transposed(leaf: nn.Module) -> bool:
    """Whether it computes x W + b."""
    return type(leaf).forward is Conv1D.forward


def linear_along(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    factors: tuple[torch.Tensor, torch.Tensor] | None,
    bias_step: torch.Tensor | None,
    scale: float,
    signs: tuple[float, ...],
) -> torch.Tensor:
    """y along a low-rank direction. For one sign it is y⁺ or y⁻; for two it is [y⁺; y⁻] for x = [x⁺; x⁻] on axis 0.

    Args:
        factors: U [m, r], V [n, r] for weight [m, n]; None: the weight is not perturbed.
        bias_step: μ z_b [m]; None: the bias is not perturbed.
        scale: μ.
    """
    y = product(x, weight, bias)
    parts = y.chunk(len(signs))
    if factors is not None:
        u, v = factors
        right = (u.T * (scale / math.sqrt(u.shape[1]))).to(x.dtype)
        for part, projected, sign in zip(parts, (x @ v.to(x.dtype)).chunk(len(signs)), signs, strict=True):
            part.add_(projected @ right, alpha=sign)
    if bias_step is not None:
        for part, sign in zip(parts, signs, strict=True):
            part.add_(bias_step, alpha=sign)
    return y


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x Wᵀ + b. If x has 16 bits and the bias is fp32, it is added in fp32 and the sum is rounded."""
    if bias is None or bias.dtype == x.dtype:
        return functional.linear(x, weight, bias)
    # The kernel of an in-place add makes no fp32 copy of the output.
    return functional.linear(x, weight).add_(bias)
