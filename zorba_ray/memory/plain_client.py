"""A client for counting that holds its whole model on the accelerator: one local step in plain PyTorch.

It is written from the published algorithms. All weights are in the compute dtype. Where a published program makes
temporary tensors that a fused call avoids, the fused call is used here. This favours the published method.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from zorba_ray.config import LocalStep
from zorba_ray.formats import PackedFormat, slab, unpack_into
from zorba_ray.memory.storage_counter import HOST, StorageCounter
from zorba_ray.models import LoadedModel
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.linear import is_linear, is_transposed
from zorba_ray.models.lora import add_lora
from zorba_ray.models.swap import Forward, nan_like

MU, RATE = 1e-3, 1e-6


class PlainClient:
    """A model with its parameters labelled by part."""

    def __init__(
        self,
        loaded: LoadedModel,
        step: LocalStep,
        loss: Callable[[], torch.Tensor],
        unread: frozenset[str],
        counter: StorageCounter,
    ) -> None:
        """`loss`: one full forward pass on the batch, with the head. `unread`: parameters that the loss does not use;
        they get no gradient."""
        self._kind = step
        self._loss = loss
        self._counter = counter
        inside = {id(parameter) for parameter in loaded.blocks.parameters()}
        for parameter in loaded.network.parameters():
            block_part = "frozen" if step.rank else "active"
            counter.label(parameter, block_part if id(parameter) in inside else "stem")
        for buffer in loaded.network.buffers():
            counter.label(buffer, "stem")
        if step.stem_format != "compute":
            outside = [p for p in loaded.network.parameters() if id(p) not in inside and p.ndim == 2]
            self._packed_stem = [pack_in_place_of(parameter, "stem", counter) for parameter in outside]
        if step.base_format != "compute":
            pack_linear(loaded.blocks, step.base_format, "frozen", counter)
        if step.rank:
            with counter.part("active"):
                self._moved = add_lora(loaded.blocks, step.rank, step.rank, step.targets, loaded.label)
        else:
            self._moved = _trained(loaded, step, unread if step.backward else frozenset())
        self._moments: list[tuple[torch.Tensor, torch.Tensor]] = []
        with counter.part("optimizer state"):
            if step.moments:
                self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self._moved]
            if step.seeds:
                self._accumulators = torch.zeros(step.seeds, device=self._moved[0].device)
        if step.checkpoint:
            for block in loaded.blocks:
                block.forward = _checkpointed(block.forward)
        if step.backward:
            for parameter in self._moved:
                parameter.requires_grad_(True)
                parameter.register_post_accumulate_grad_hook(self._label_gradient)

    def step(self) -> None:
        """One local step."""
        if self._kind.backward:
            self._backprop()
        else:
            with torch.no_grad():
                self._zeroth_order()

    def _zeroth_order(self) -> None:
        """θ + μz, F⁺, θ − μz, F⁻, θ, θ − ηρz: Algorithm 1 of MeZO; other zeroth-order methods do the same."""
        stored = None
        if self._kind.stored:
            with self._counter.part("scratch"):
                first = self._moved[0]
                stored = torch.randn(sum(p.numel() for p in self._moved), dtype=first.dtype, device=first.device)
        self._walk(MU, stored)
        self._loss()
        self._walk(-2 * MU, stored)
        self._loss()
        self._walk(MU, stored)
        self._walk(-RATE, stored)
        if self._kind.seeds:
            self._accumulators[:1].add_(RATE)

    def _walk(self, scale: float, stored: torch.Tensor | None) -> None:
        sizes = [parameter.numel() for parameter in self._moved]
        pieces = [None] * len(sizes) if stored is None else stored.split(sizes)
        with self._counter.part("scratch"):
            for parameter, piece in zip(self._moved, pieces, strict=True):
                z = torch.randn_like(parameter) if piece is None else piece.view(parameter.shape)
                parameter.add_(z, alpha=scale)
                del z

    def _backprop(self) -> None:
        for parameter in self._moved:
            parameter.grad = None
        self._loss().backward()
        with torch.no_grad(), self._counter.part("optimizer state"):
            for index, parameter in enumerate(self._moved):
                assert parameter.grad is not None
                if self._moments:
                    self._adamw(parameter, parameter.grad, *self._moments[index])
                else:
                    parameter.add_(parameter.grad, alpha=-RATE)

    def _adamw(self, parameter: torch.Tensor, gradient: torch.Tensor, mean: torch.Tensor, square: torch.Tensor) -> None:
        mean.lerp_(gradient, 0.1)
        square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        parameter.mul_(1 - RATE * 0.01)
        parameter.addcdiv_(mean, square.sqrt().add_(1e-8), value=-RATE)

    def _label_gradient(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self._counter.label(parameter.grad, "gradients")


def _checkpointed(forward: Forward) -> Forward:
    """A block's forward that keeps its input alone; the backward pass runs it once more."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return checkpointed


def _trained(loaded: LoadedModel, step: LocalStep, unread: frozenset[str]) -> list[nn.Parameter]:
    """The parameters that a step moves, without those that get no gradient."""
    manifest = model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
    tensors = manifest.tensors if step.scope is None else manifest.moved(step.scope)
    names = {tensor.name for tensor in tensors} - unread
    return [parameter for name, parameter in loaded.network.named_parameters() if name in names]


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
    """Packs the frozen weights of all linear layers, as QLoRA does (Dettmers et al., arXiv 2305.14314): a layer unpacks
    its weight for the forward pass, and again for the backward pass. Their bytes belong to `part`, those of an unpacked
    weight to `scratch`.

    The weights must not be trained. Other code that reads them sees NaN.
    """
    for layer in [layer for layer in modules.modules() if is_linear(layer)]:
        weight = layer.get_parameter("weight")
        layer.forward = _forward(layer, _slab(weight, format, part, counter), format, counter)
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


def _forward(layer: nn.Module, packed: torch.Tensor, format: PackedFormat, counter: StorageCounter) -> Forward:
    """A linear layer's forward with its packed weight."""
    weight, bias = layer.get_parameter("weight"), layer._parameters.get("bias")
    shape, dtype, transposed = tuple(weight.shape), weight.dtype, is_transposed(layer)

    def unpacked() -> torch.Tensor:
        with counter.part("scratch"):
            copy = torch.empty(math.prod(shape), dtype=dtype, device=packed.device)
        unpack_into(copy, packed, shape, format)
        return copy.view(shape) if transposed else copy.view(shape).T

    def forward(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = _Product.apply(x, unpacked)  # pyright: ignore[reportAssignmentType]
        return y if bias is None else y.add_(bias)

    return forward
