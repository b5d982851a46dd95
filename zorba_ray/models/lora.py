"""LoRA adapters on the attention projections (Hu et al., 2021): y = W x + (α/r) B A x with A [r, n], B [m, r]."""

from typing import Any

import torch
from torch import nn

from zorba_ray.models.low_rank_leaf import is_linear, is_transposed

_ATTENTION = ("attn", "attention")


def add_lora(blocks: nn.ModuleList, rank: int) -> list[nn.Parameter]:
    """Adapters, α = r, on every linear layer of the blocks' attention (query, key, value, output), on the instance.

    Returns the adapters' parameters, in the dtype of the weights that they stand beside.
    """
    adapters: list[nn.Parameter] = []
    for name, leaf in blocks.named_modules():
        if is_attention(name) and is_linear(leaf):
            adapters += _adapt(leaf, rank)
    return adapters


def is_attention(name: str) -> bool:
    """Whether a module or tensor of this dotted name belongs to a block's attention; its norms do too."""
    return any(mark in part.lower() for part in name.split(".") for mark in _ATTENTION)


def _adapt(leaf: nn.Module, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    weight = leaf.get_parameter("weight")
    outputs, inputs = reversed(weight.shape) if is_transposed(leaf) else weight.shape
    options: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
    down = nn.Parameter(torch.randn(rank, inputs, **options) / rank)
    up = nn.Parameter(torch.zeros(outputs, rank, **options))
    plain = leaf.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        return plain(x) + (x @ down.T) @ up.T

    leaf.forward = forward
    return down, up
