"""16-bit matrices beside fp32 vectors, as the modelled accelerator computes (algorithm.md §6).

Norms compute in fp32 and cast their output; a bias is added in fp32 and the sum is cast, in the kernel of an in-place
add, so that no fp32 copy of an output exists.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from zorba_ray.models.lora import adapted
from zorba_ray.models.low_rank_leaf import is_linear, is_transposed


def mix_precision(network: nn.Module) -> None:
    """Wraps the leaf modules of `network` that hold vectors, on the instance; for inference only."""
    for leaf in network.modules():
        own = dict(leaf.named_parameters(recurse=False))
        if not any(parameter.ndim == 1 for parameter in own.values()):
            continue
        leaf.forward = _linear(leaf) if is_linear(leaf) else _in_fp32(leaf.forward)


def _linear(leaf: nn.Module) -> Any:
    transposed = is_transposed(leaf)

    def forward(x: torch.Tensor) -> torch.Tensor:
        # Parameters are read at each call: an active block swaps them.
        weight, bias = leaf._parameters["weight"], leaf._parameters["bias"]
        assert weight is not None
        y = functional.linear(x, weight.T if transposed else weight)
        if bias is not None:
            y.add_(bias)
        change = adapted(leaf, x)
        return y if change is None else y.add_(change)

    return forward


def _in_fp32(plain: Any) -> Any:
    def forward(x: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        return plain(x.float(), *rest, **named).to(x.dtype)

    return forward
