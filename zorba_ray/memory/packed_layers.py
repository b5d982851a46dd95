"""Linear layers whose frozen weight is packed, for counting: QLoRA's base (Dettmers et al., arXiv 2305.14314).

A layer unpacks its weight for the forward pass, and again for the backward pass. In between only the packed form is
kept.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from zorba_ray.formats import PackedFormat, slab, unpack_into
from zorba_ray.memory.storage_counter import HOST, StorageCounter
from zorba_ray.models.linear import is_linear, is_transposed
from zorba_ray.models.swap import nan_like


class _Product(torch.autograd.Function):
    """x W, where `unpacked` makes W [in, out]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, unpacked: Callable[[], torch.Tensor]) -> torch.Tensor:
        ctx.unpacked = unpacked
        return x @ unpacked()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0] @ ctx.unpacked().T, None


def pack_linear(modules: nn.Module, format: PackedFormat, part: str, counter: StorageCounter) -> None:
    """Packs the weights of all linear layers. Their bytes belong to `part`, those of an unpacked weight to `scratch`.

    The weights must not be trained. Other code that reads them sees NaN.
    """
    for layer in [layer for layer in modules.modules() if is_linear(layer)]:
        weight, bias = layer.get_parameter("weight"), layer._parameters.get("bias")
        packed = _slab(weight, format, part, counter)
        layer.forward = _forward(packed, weight, bias, format, is_transposed(layer), counter)
        with counter.part(HOST):
            weight.data = nan_like(weight)


def pack_in_place_of(weight: torch.Tensor, part: str, counter: StorageCounter) -> torch.Tensor:
    """An int8 slab that is counted in place of a matrix, which is still computed with. Rows of it that exist unpacked
    for a moment are not counted."""
    packed = _slab(weight, "int8", part, counter)
    counter.label(weight, HOST)
    return packed


def _slab(weight: torch.Tensor, format: PackedFormat, part: str, counter: StorageCounter) -> torch.Tensor:
    with counter.part(part):
        return torch.zeros(slab(format, tuple(weight.shape)).nbytes, dtype=torch.uint8, device=weight.device)


def _forward(
    packed: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    format: PackedFormat,
    transposed: bool,
    counter: StorageCounter,
) -> Callable[[torch.Tensor], torch.Tensor]:
    shape, dtype = tuple(weight.shape), weight.dtype

    def unpacked() -> torch.Tensor:
        with counter.part("scratch"):
            copy = torch.empty(weight.numel(), dtype=dtype, device=packed.device)
        unpack_into(copy, packed, shape, format)
        return copy.view(shape) if transposed else copy.view(shape).T

    def forward(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = _Product.apply(x, unpacked)  # pyright: ignore[reportAssignmentType]
        return y if bias is None else y.add_(bias)

    return forward
