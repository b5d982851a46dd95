"""A zorba client for counting: it runs the code of a real run, on tensors without memory, with a given placement.

The code is `models.replica`, `models.offload` and `models.paired`, with 16-bit matrices (`models.mixed_precision`) if
the compute dtype is bf16. The masters of θ and the images of streamed blocks are in host memory and are not counted.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch

from zorba_ray.directions import TensorStream, Terms
from zorba_ray.formats import Format
from zorba_ray.memory.storage_counter import HOST, StorageCounter
from zorba_ray.models import RESIDENT, STREAMED, Batch, HostStore, LoadedModel, Perturbation, Placement, Replica, Scope
from zorba_ray.models.mixed_precision import mix_precision
from zorba_ray.models.offload import Offload
from zorba_ray.models.paired import PairedBackbone
from zorba_ray.models.perturbation import group_count
from zorba_ray.models.replica import move_rest


@dataclass(frozen=True)
class PairedStep:
    """One forward pair of a zorba client."""

    placement: Placement = RESIDENT
    active: frozenset[int] = frozenset({0})
    scope: Scope = "all"
    resident: bool = True
    """Whether active blocks stay on the accelerator. False: they are streamed, too, as in ZO2."""
    stem_format: Format = "compute"
    shared_by: int = 0
    """b, examples that share a direction (`zo.directions_per: example`); 0: all of a batch."""

    @property
    def label(self) -> str:
        """The placement in words, for tables."""
        if not self.resident:
            return "all streamed"
        frozen = "resident" if self.placement.frozen == "device" else "streamed"
        packed = "" if self.placement.format == "compute" else f" in {self.placement.format}"
        masters = ", fp32 masters" if self.placement.master == "device" else ""
        return f"frozen {frozen}{packed}{masters}"


class SilentDirections:
    """Copies θ in place of drawing a direction: the real kernel also writes θ ± μz without memory of its own."""

    name = "silent"

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        scratch.copy_(theta)

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        raise AssertionError("a forward pair commits nothing")

    def draw_signs(
        self, out: torch.Tensor, seeds: np.ndarray, directions: np.ndarray, block: int, parts: Sequence[tuple[int, int]]
    ) -> None:
        out.fill_(1.0)


class PairedClient:
    """Runs forward pairs through the backbone, with the placement of the step."""

    def __init__(self, loaded: LoadedModel, step: PairedStep, counter: StorageCounter) -> None:
        """`loaded`: a skeleton in the compute dtype on the client's device, made while `counter` counts."""
        self._active, self._shared_by = step.active, step.shared_by
        first = next(parameter for parameter in loaded.network.parameters() if parameter.ndim >= 2)
        compute, device = first.dtype, str(first.device)
        with counter.part(HOST):
            replica = Replica(loaded)
        with counter.part("stem"):
            move_rest(loaded, device)
            # All fake tensors are on one device. A count needs host and accelerator apart.
            packs = step.placement.format != "compute"
            store = HostStore(compute, apart=True, packs=packs, stem_format=step.stem_format)
            offload = Offload(replica, device, step.scope, store)
        for buffer in loaded.network.buffers():
            counter.label(buffer, "stem")
        if compute != torch.float32:
            mix_precision(loaded, compute)
        with counter.part("scratch"):
            self._backbone = PairedBackbone(
                loaded, replica, step.scope, SilentDirections(), int(step.shared_by > 0), compute, offload
            )
        # A first pass makes the stream buffers, so that they can be labelled.
        ids = torch.zeros(1, 2, dtype=torch.long, device=device)
        offload.enter(replace(STREAMED, format=step.placement.format), frozenset())
        self._backbone.hidden({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        # If no block is resident, active blocks are streamed like frozen ones.
        offload.enter(step.placement, step.active if step.resident else frozenset())
        for part, tensor in offload.pieces():
            counter.label(tensor, part)

    def moved(self) -> AbstractContextManager[None]:
        """Inside, the active blocks are perturbed copies, as while answers are written."""
        return self._backbone.tensors.held(self._active, _move(0, 0), 1.0)

    @torch.no_grad()
    def pair(self, batch: Batch, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Last hidden states [2B, T, H] of one direction. The prefix is held, as it is with several directions."""
        prepared = self._backbone.prepare(batch, inputs, self._active)
        return self._backbone.perturbed([prepared], _move(self._shared_by, len(batch)))[0]


def _move(shared_by: int, examples: int) -> Perturbation:
    return Perturbation(0, 0, 1e-3, "rademacher", shared_by=shared_by, groups=group_count(examples, shared_by))
