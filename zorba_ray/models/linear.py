"""Linear layers: which modules are one, and what they answer along low-rank directions.

y± = x± (W ± μ U Vᵀ/√r)ᵀ + (b ± μ z_b) = x± Wᵀ + b ± [(x± V) μ/√r Uᵀ + μ z_b]

so a plain product on both halves of [x⁺; x⁻] and a rank-r correction do, and no perturbed copy of a weight exists. Any
other module runs once per sign with perturbed copies of its tensors, as with dense directions.
"""

import functools
import math
from typing import Any

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
        assert layer.bias is not None
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
    y = _product(x, weight, bias)
    plus, minus = y.chunk(2)
    if factors is not None:
        right, v = _right(factors, scale, x.dtype)
        x_plus, x_minus = (x @ v).chunk(2)
        plus += x_plus @ right
        minus -= x_minus @ right
    if bias_step is not None:
        plus += bias_step
        minus -= bias_step
    return y


def linear_step(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    factors: tuple[torch.Tensor, torch.Tensor] | None,
    bias_step: torch.Tensor | None,
    scale: float,
    sign: float,
) -> torch.Tensor:
    """y⁺ or y⁻, by `sign`, for x [..., n]; the other arguments as of `linear_pair`."""
    y = _product(x, weight, bias)
    if factors is not None:
        right, v = _right(factors, sign * scale, x.dtype)
        y += (x @ v) @ right
    if bias_step is not None:
        y += sign * bias_step
    return y


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if bias is None or bias.dtype == x.dtype:
        return functional.linear(x, weight, bias)
    # A 16-bit layer: the fp32 bias is added in fp32, and the sum is cast.
    return functional.linear(x, weight).add_(bias)


def _right(
    factors: tuple[torch.Tensor, torch.Tensor], scale: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale/√r Uᵀ, V) in `dtype`."""
    u, v = factors
    return (u.T * (scale / math.sqrt(u.shape[1]))).to(dtype), v.to(dtype)


def half_of(value: Any, rows: int, half: int) -> Any:
    """One half of a tensor that has the `rows` of the doubled batch; anything else as it is."""
    if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == rows:
        return value.chunk(2)[half]
    return value
