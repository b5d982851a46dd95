"""A client for counting that holds its whole model on the accelerator: one local step in plain PyTorch.

It is written from the published algorithms. All weights are in the compute dtype. Where a published program makes
temporary tensors that a fused call avoids, the fused call is used here. This favours the published method.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from zorba_ray.config import LocalStep
from zorba_ray.memory.packed_layers import pack_in_place_of, pack_linear
from zorba_ray.memory.storage_counter import StorageCounter
from zorba_ray.models import LoadedModel
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.lora import add_lora
from zorba_ray.models.swap import Forward

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


def _trained(loaded: LoadedModel, step: LocalStep, unread: frozenset[str]) -> list[torch.nn.Parameter]:
    """The parameters that a step moves, without those that get no gradient."""
    manifest = model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
    tensors = manifest.tensors if step.scope is None else manifest.moved(step.scope)
    names = {tensor.name for tensor in tensors} - unread
    return [parameter for name, parameter in loaded.network.named_parameters() if name in names]
