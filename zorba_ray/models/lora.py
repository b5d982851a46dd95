"""LoRA adapters on linear layers: y = W x + (α/r) B A x with A [r, n], B [m, r] (Hu et al., 2021).

Adapters are parameters of the linear layer that they adapt, so that they are in the manifest and the arena like any
other tensor. A is drawn from counters and is the same for every run of a model, because adapters are part of θ0. B is
0.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from zorba_ray.config.model import Targets
from zorba_ray.directions import uniforms
from zorba_ray.errors import ModelError
from zorba_ray.models.linear import is_linear, is_transposed
from zorba_ray.models.manifest import ADAPTER

_ATTENTION = ("attn", "attention")
_QUERY = ("q_proj", "query", "q_lin", "q", "c_attn", "query_key_value", "qkv_proj", "wqkv")
"""The last four compute query, key and value together, and are adapted as a whole."""
_VALUE = ("v_proj", "value", "v_lin", "v")
_DOWN, _UP = f"{ADAPTER}down", f"{ADAPTER}up"
_SCALE = f"{ADAPTER}scale"
"""Attribute of a layer: α/r."""
_DRAWN_FROM = 0
"""Master seed from which A is drawn."""


def add_lora(blocks: nn.ModuleList, rank: int, alpha: float, targets: Targets, label: str) -> list[nn.Parameter]:
    """Adds adapters, all 0, to the linear layers of the blocks in `targets`.

    Returns their parameters, in the dtype of the layers' weights.

    Raises:
        ModelError: there is no such layer; `label` names the model.
    """
    leaves = [leaf for name, leaf in blocks.named_modules() if is_linear(leaf) and is_target(name, targets)]
    adapters = [parameter for leaf in leaves for parameter in _adapt(leaf, rank, alpha / rank)]
    if not adapters:
        hint = "; try model.lora.targets=attention, which looks for other names" if targets.startswith("query") else ""
        raise ModelError(
            f"model.lora.targets={targets}: the blocks of {label} have no linear layers with such names{hint}"
        )
    return adapters


def draw_lora(blocks: nn.ModuleList) -> None:
    """Fills A of every adapter, uniform in ±1/√n as `nn.Linear` draws its weights."""
    number = 0
    for leaf in blocks.modules():
        down = leaf._parameters.get(_DOWN)
        if down is not None:
            draws = 2.0 * uniforms(_DRAWN_FROM, "adapters", number, 0, down.numel()) - 1.0
            with torch.no_grad():
                down.copy_(torch.from_numpy(draws / math.sqrt(down.shape[1])).view(down.shape))
            number += 1


def adapters_of(network: nn.Module) -> Iterator[tuple[str, nn.Module, torch.Tensor, torch.Tensor]]:
    """(dotted name, layer, A, B) of every layer with an adapter."""
    for name, leaf in network.named_modules():
        down, up = leaf._parameters.get(_DOWN), leaf._parameters.get(_UP)
        if down is not None and up is not None:
            yield name, leaf, down, up


def adapted(leaf: nn.Module, x: torch.Tensor) -> torch.Tensor | None:
    """(α/r) B A x of a layer; None: it has no adapter."""
    down, up = leaf._parameters.get(_DOWN), leaf._parameters.get(_UP)
    if down is None or up is None:
        return None
    return ((x @ down.T) @ up.T).mul_(leaf.__dict__[_SCALE])  # in place: no backward pass needs the product


def merge_lora(network: nn.Module) -> None:
    """W ← W + (α/r) B A for every adapter of `network`, and removes the adapters."""
    for _, leaf, down, up in adapters_of(network):
        change = up.data @ down.data * leaf.__dict__[_SCALE]
        weight = leaf.get_parameter("weight")
        weight.data = weight.data + (change.T if is_transposed(leaf) else change)
    drop_lora(network)


def drop_lora(network: nn.Module) -> None:
    """Removes every adapter of `network`, without a change of its weights."""
    for _, leaf, _, _ in adapters_of(network):
        del leaf._parameters[_DOWN], leaf._parameters[_UP]
        leaf.__dict__.pop("forward", None)


def is_target(name: str, targets: Targets) -> bool:
    """Whether a linear layer with this dotted name (or that of its weight) gets an adapter."""
    parts = name.lower().split(".")
    if targets == "all":
        return True
    if targets == "attention":
        return any(mark in part for part in parts for mark in _ATTENTION)
    names = _QUERY if targets == "query" else _QUERY + _VALUE
    return any(part in names for part in parts)


def _adapt(leaf: nn.Module, rank: int, scale: float) -> tuple[nn.Parameter, nn.Parameter]:
    weight = leaf.get_parameter("weight")
    outputs, inputs = reversed(weight.shape) if is_transposed(leaf) else weight.shape
    options: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
    down, up = nn.Parameter(torch.zeros(rank, inputs, **options)), nn.Parameter(torch.zeros(outputs, rank, **options))
    leaf.register_parameter(_DOWN, down)
    leaf.register_parameter(_UP, up)
    leaf.__dict__[_SCALE] = scale
    plain = leaf.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        change = adapted(leaf, x)
        assert change is not None
        return plain(x).add_(change)

    leaf.forward = forward
    return down, up
