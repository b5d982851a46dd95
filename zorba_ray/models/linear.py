"""Linear layers: which modules are one, and what they answer along low-rank directions.

y± = x± (W ± μ U Vᵀ/√r)ᵀ + (b ± μ z_b) = x± Wᵀ + b ± [(x± V) μ/√r Uᵀ + μ z_b]

so a plain product on both halves of [x⁺; x⁻] and a rank-r correction do, and no perturbed copy of a weight exists. Any
other module runs once per sign with perturbed copies of its tensors, as with dense directions.
"""

import functools
import math

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional
from transformers.pytorch_utils import Conv1D


def is_linear(leaf: nn.Module) -> bool:
    """Whether the module computes x Wᵀ + b or x W + b and nothing else; adapters that stand beside W do not count."""
    kind = type(leaf)
    return kind.forward in (nn.Linear.forward, Conv1D.forward) or (isinstance(leaf, nn.Linear) and _is_plain(kind))


@functools.cache
def _is_plain(kind: type[nn.Linear]) -> bool:
    """Whether a subclass with a forward of its own (Falcon's) answers as `nn.Linear`: seen on a small layer."""
    with unset_fake_temporarily(), torch.no_grad():
        layer, x = nn.Linear(4, 3), torch.linspace(-1.0, 1.0, 8).view(2, 4)
        layer.weight.copy_(torch.linspace(-1.0, 2.0, 12).view(3, 4))
        layer.bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
        wanted = layer(x)
        layer.__class__ = kind
        try:
            return torch.allclose(kind.forward(layer, x), wanted)
        except Exception:  # it needs what a plain layer does not have
            return False


def is_transposed(leaf: nn.Module) -> bool:
    """Whether it is x W + b."""
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
    """y along a low-rank direction: y⁺ or y⁻ for one sign, [y⁺; y⁻] for x = [x⁺; x⁻] along axis 0 for two.

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
        for part, left, sign in zip(parts, (x @ v.to(x.dtype)).chunk(len(signs)), signs, strict=True):
            part.add_(left @ right, alpha=sign)
    if bias_step is not None:
        for part, sign in zip(parts, signs, strict=True):
            part.add_(bias_step, alpha=sign)
    return y


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x Wᵀ + b; in 16 bits an fp32 bias is added in fp32, and the sum is cast."""
    if bias is None or bias.dtype == x.dtype:
        return functional.linear(x, weight, bias)
    # In the kernel of an in-place add no fp32 copy of the output exists.
    return functional.linear(x, weight).add_(bias)
