"""Other tensors and other forwards in the modules of a network, for a while."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

Forward = Callable[..., Any]
"""What a module computes."""
Holder = tuple[nn.Module, str]
"""A module, and the name under which it holds a parameter."""

ALIGNMENT = 64
"""Bytes. Matrix kernels may answer differently at other alignments."""


class TensorsSwapped:
    """A context in which modules hold other tensors."""

    def __init__(self, tensors: Iterable[tuple[nn.Module, str, torch.Tensor | None]]) -> None:
        """`tensors`: module, name of a parameter of it, and what stands there meanwhile."""
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
    """NaN in the shape of a tensor; it holds one number."""
    return torch.full((), float("nan"), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def storage_key(tensor: torch.Tensor) -> tuple[int, int]:
    """Where a tensor begins: equal for two views that begin at the same number, as tied weights do.

    Tensors without memory have one too, as a client's bytes are counted with those.
    """
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())


def holders_of(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, list[Holder]]:
    """Name of each tensor -> every module that holds it: several where it is tied.

    Args:
        tensors: views of what the network's parameters are views of.
    """
    names = {storage_key(tensor): name for name, tensor in tensors.items()}
    holders: dict[str, list[Holder]] = {name: [] for name in tensors}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            key = storage_key(parameter)
            if key in names:  # else it does not reach the loss
                holders[names[key]].append((module, name))
    return holders


def is_aligned(tensor: torch.Tensor) -> bool:
    """Whether it begins at a multiple of 64 bytes; a tensor without memory has no address that could be wrong."""
    return isinstance(tensor, FakeTensor) or tensor.data_ptr() % ALIGNMENT == 0
