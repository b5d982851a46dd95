"""The modules of a block where each group of a batch's examples has a direction of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from zorba_ray.directions import DirectionBackend
from zorba_ray.models.example_steps import ExampleGroups, linear_by_example, scale_by_example, spread
from zorba_ray.models.linear import is_transposed
from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.swap import Forward, TensorsSwapped

_NORMS = (nn.LayerNorm.forward, nn.RMSNorm.forward)
"""Norms that take one weight for all rows: it is applied behind them."""


def takes_rows(module: nn.Module) -> bool:
    """Whether a module without children has vectors alone, so that it may compute with rows of them."""
    return all(tensor is None or tensor.ndim == 1 for tensor in module._parameters.values())


def signs_of(entry: TensorEntry) -> int:
    """Signs of one direction of a tensor: m + n of a matrix [m, n], which has r sᵀ; n of a vector."""
    return entry.numel if len(entry.shape) == 1 else entry.shape[0] + entry.numel // entry.shape[0]


class ExampleReaders:
    """Linear layers and vectors at θ + sign · μ z_g, between `begin` and `end`. Signs are drawn block by block."""

    def __init__(
        self, directions: DirectionBackend, scoped: Sequence[Sequence[TensorEntry]], compute: torch.dtype
    ) -> None:
        """`scoped`: the tensors in scope of each block. `compute`: dtype of matrices; vectors are fp32."""
        self._directions, self._scoped, self._compute = directions, scoped, compute
        self.running = False
        self._drawn = -1
        """The block whose signs are in the buffer; −1: none."""
        self._buffer = torch.empty(0)
        self._views: dict[tuple[int, int], dict[str, torch.Tensor]] = {}
        """(block, groups) -> signs of its tensors, fp32 [groups, …], in the buffer."""

    def begin(self, move: Perturbation, signs: tuple[float, ...], groups: ExampleGroups, device: torch.device) -> None:
        """From here on modules are given the rows of all signs, one sign after another."""
        self._seeds = np.full(groups.count, move.seed, dtype=np.uint64)
        self._numbers = np.arange(groups.count, dtype=np.uint64) + np.uint64(move.direction * move.groups)
        self._steps = np.array(signs, dtype=np.float32) * np.float32(move.scale)
        self._groups, self._device = groups, device
        self.running, self._drawn = True, -1

    def end(self) -> None:
        self.running = False

    def linear(
        self, leaf: nn.Module, keys: Mapping[str, TensorEntry], theta: Mapping[str, torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        """A linear layer.

        Args:
            keys: name of a parameter -> the tensor in scope that it is.
            theta: name of a parameter -> flat fp32 tensor at θ.
        """
        tensors: dict[str, Any] = dict(leaf._parameters)
        for key, entry in keys.items():
            tensors[key] = theta[key].view(entry.shape).to(entry.compute_dtype(self._compute))
        signs, transposed = self._signs(keys), is_transposed(leaf)
        weight = tensors["weight"].T if transposed else tensors["weight"]
        both = signs.get("weight"), signs.get("bias")
        return linear_by_example(x, weight, tensors.get("bias"), *both, self._groups, self._steps, transposed)

    def rows(
        self,
        module: nn.Module,
        forward: Forward,
        keys: Mapping[str, TensorEntry],
        theta: Mapping[str, torch.Tensor],
        x: torch.Tensor,
        *rest: Any,
        **named: Any,
    ) -> torch.Tensor:
        """A module that has vectors alone, computed with rows of them.

        Args:
            forward: of the module.
            keys, theta: as of `linear`.
        """
        signs, groups, steps = self._signs(keys), self._groups, self._steps
        if type(module).forward not in _NORMS:
            rows = [(module, key, theta[key] + spread(signs[key], x, groups, steps)) for key in keys]
            with TensorsSwapped(rows):
                return forward(x, *rest, **named)
        tensors = {**module._parameters, **theta}
        with TensorsSwapped([(module, key, None) for key in tensors]):
            normed = forward(x.float())
        both = signs.get("weight"), signs.get("bias")
        scale_by_example(normed, tensors["weight"], tensors.get("bias"), *both, groups, steps)
        return normed.to(x.dtype)

    def _signs(self, keys: Mapping[str, TensorEntry]) -> dict[str, torch.Tensor]:
        """Signs of every group, fp32 [G, …], of the tensors of one module."""
        block, count = next(iter(keys.values())).block, self._groups.count
        entries = self._scoped[block]
        if block != self._drawn:
            total = count * sum(map(signs_of, entries))
            if total > len(self._buffer):
                self._buffer = torch.empty(total, dtype=torch.float32, device=self._device)
                self._views.clear()
            parts = [(entry.slot, signs_of(entry)) for entry in entries]
            self._directions.draw_signs(self._buffer[:total], self._seeds, self._numbers, block, parts)
            self._drawn = block
        if (block, count) not in self._views:
            views = self._buffer[: count * sum(map(signs_of, entries))].split([count * signs_of(e) for e in entries])
            self._views[block, count] = {
                entry.name: view.view(count, -1) for entry, view in zip(entries, views, strict=True)
            }
        views = self._views[block, count]
        return {key: views[entry.name] for key, entry in keys.items()}
