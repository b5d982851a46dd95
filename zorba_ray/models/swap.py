"""Contexts in which modules of a network have other tensors or other forwards."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from zorba_ray.formats import ALIGNMENT

Forward = Callable[..., Any]
"""A module's forward function."""
Holder = tuple[nn.Module, str]
"""A module, and the name under which it holds a parameter."""


class TensorsSwapped:
    """A context in which modules hold other tensors."""

    def __init__(self, tensors: Iterable[tuple[nn.Module, str, torch.Tensor | None]]) -> None:
        """`tensors`: module, name of its parameter, and the tensor that replaces it."""
        self._tensors = tensors
        self._kept: list[tuple[nn.Module, str, Any]] = []

    def __enter__(self) -> None:
        try:
            for module, name, tensor in self._tensors:
                self._kept.append((module, name, module._parameters[name]))
                module._parameters[name] = tensor  # type: ignore[assignment]
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        for module, name, tensor in reversed(self._kept):
            module._parameters[name] = tensor


class ForwardsSwapped:
    """A context in which modules run other forwards."""

    def __init__(self, forwards: Iterable[tuple[nn.Module, Forward]]) -> None:
        self._forwards = forwards
        self._kept: list[tuple[nn.Module, Forward | None]] = []

    def __enter__(self) -> None:
        for module, forward in self._forwards:
            self._kept.append((module, module.__dict__.get("forward")))
            module.forward = forward

    def __exit__(self, *_: object) -> None:
        for module, forward in reversed(self._kept):
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def nan_like(tensor: torch.Tensor) -> torch.Tensor:
    """NaN in the shape of a tensor, with memory for one number only."""
    return torch.full((), float("nan"), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def storage_key(tensor: torch.Tensor) -> tuple[int, int]:
    """A key that is equal for two views that begin at the same number, as tied weights do.

    Tensors without memory have a key too; a client's bytes are counted with such tensors.
    """
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())


def holders_of(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, list[Holder]]:
    """Name of each tensor -> every module that holds it; tied tensors have several.

    Args:
        tensors: views of the same storage as the network's parameters.
    """
    names = {storage_key(tensor): name for name, tensor in tensors.items()}
    holders: dict[str, list[Holder]] = {name: [] for name in tensors}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            key = storage_key(parameter)
            if key in names:  # else the loss does not depend on it
                holders[names[key]].append((module, name))
    return holders


def is_aligned(tensor: torch.Tensor) -> bool:
    """Whether a tensor begins at a multiple of 64 bytes; True for a tensor without memory, which has no address."""
    return isinstance(tensor, FakeTensor) or tensor.data_ptr() % ALIGNMENT == 0
