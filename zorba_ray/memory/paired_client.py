"""A zorba client laid out as a policy says, on tensors that need not exist, running the real forward pair.

What runs is `models.paired`, with 16-bit matrices (`models.mixed_precision`) where the compute dtype is bf16. Blocks of
the host come through two buffers of one block: a visit copies what the block has on the host into the buffer of its
turn. Storage of the host is labelled so and not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import TensorStream, Terms
from zorba_ray.memory.policy import Policy
from zorba_ray.memory.storage_counter import HOST, StorageCounter
from zorba_ray.models import LoadedModel, Perturbation, Scope
from zorba_ray.models.blocks import model_manifest
from zorba_ray.models.mixed_precision import mix_precision
from zorba_ray.models.paired import PairedBackbone
from zorba_ray.models.perturbed_leaf import Forward


class SilentDirections:
    """Draws nothing: copies θ, as one fused kernel writes θ ± μz without storage of its own."""

    name = "silent"

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        scratch.copy_(theta)

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        raise AssertionError("a forward pair commits nothing")


class PairedClient:
    """Parameters placed by a policy, and the backbone in pairs."""

    def __init__(
        self, loaded: LoadedModel, policy: Policy, scope: Scope, active: frozenset[int], counter: StorageCounter
    ) -> None:
        """`loaded`: a skeleton in the compute dtype, made under `counter`."""
        self._active = active
        self._host: dict[int, list[_Tensor]] = {}
        """Block -> what it has on the host."""
        self._buffers: list[torch.Tensor] = []
        compute = next(parameter.dtype for parameter in loaded.network.parameters() if parameter.ndim >= 2)
        for parameter in loaded.network.parameters():
            if parameter.ndim == 1:
                parameter.data = parameter.data.float()
        mix_precision(loaded.network)
        for index, block in enumerate(loaded.blocks):
            block.forward = self._visited(index, block.forward)
        manifest = model_manifest(loaded.network, loaded.blocks_name, len(loaded.blocks))
        theta = {entry.name: loaded.network.get_parameter(entry.name).data.view(-1) for entry in manifest.tensors}
        with counter.part("scratch"):
            self._backbone = PairedBackbone(
                loaded.backbone, loaded.blocks, theta, manifest, scope, SilentDirections(), compute=compute
            )
        ids = torch.zeros(1, 2, dtype=torch.long, device=next(iter(theta.values())).device)
        self._backbone.order({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        size = max(sum(_aligned(parameter.nbytes) for parameter in block.parameters()) for block in loaded.blocks)
        homes = {
            id(parameter): (leaf, name)
            for leaf in loaded.network.modules()
            for name, parameter in leaf.named_parameters(recurse=False)
        }
        for buffer in loaded.network.buffers():
            counter.label(buffer, "stem")
        for entry in manifest.tensors:
            parameter = loaded.network.get_parameter(entry.name)
            if entry.block not in range(manifest.blocks):
                counter.label(parameter, "stem")
            elif entry.block in active and entry.in_scope(scope) and policy.resident:
                if policy.master == "device":
                    theta[entry.name] = theta[entry.name].float()
                    parameter.data = theta[entry.name].view(entry.shape)
                counter.label(parameter, "active")
            elif policy.frozen == "device":
                counter.label(parameter, "frozen")
            else:
                parameter.data = parameter.data.cpu()  # of a real accelerator; without one the label alone tells
                theta[entry.name] = parameter.data.view(-1)
                counter.label(parameter, HOST)
                self._host.setdefault(entry.block, []).append(_Tensor(*homes[id(parameter)]))
        if self._host:
            with counter.part("stream buffers"):
                self._buffers = [torch.empty(size, dtype=torch.uint8, device=ids.device) for _ in range(2)]

    @torch.no_grad()
    def pair(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Last hidden states [2B, T, H] of one direction, with the prefix held as several directions would."""
        prefix = self._backbone.prefix(inputs, self._active)
        return self._backbone.perturbed([prefix], Perturbation(0, 0, 1e-3, "rademacher"))[0]

    def _visited(self, index: int, forward: Forward) -> Forward:
        def visit(*args: Any, **kwargs: Any) -> Any:
            """`forward` with what the block has on the host copied into a buffer."""
            own, start = self._host.get(index, ()), 0
            kept = [tensor.leaf._parameters[tensor.name] for tensor in own]
            try:
                for tensor, source in zip(own, kept, strict=True):
                    assert source is not None
                    target = self._buffers[index % 2][start : start + source.nbytes].view(source.dtype)
                    start += _aligned(source.nbytes)
                    tensor.leaf._parameters[tensor.name] = target.view(source.shape).copy_(source)  # type: ignore
                return forward(*args, **kwargs)
            finally:
                for tensor, source in zip(own, kept, strict=True):
                    tensor.leaf._parameters[tensor.name] = source

        return visit


@dataclass(frozen=True)
class _Tensor:
    leaf: nn.Module
    name: str


def _aligned(size: int) -> int:
    return -(-size // 64) * 64
