"""Frozen matrices that are held packed: each is unpacked into the scratch buffer while the module that reads it runs.

Outside such a module a packed matrix is NaN in the network, so that a read elsewhere cannot pass unseen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from zorba_ray.formats import PackedFormat, unpack_into
from zorba_ray.models.block_layout import BlockLayout, Scratch, readers
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import Scope, TensorEntry
from zorba_ray.models.replica import Replica
from zorba_ray.models.swap import Forward, TensorsSwapped

Packed = Mapping[str, tuple[PackedFormat, torch.Tensor]]
"""Name of a tensor that is packed at present -> its format, and its slab (uint8) on what computes."""


class UnpackedTensors:
    """The modules of all blocks that read matrices, wrapped on the instance."""

    def __init__(
        self,
        loaded: LoadedModel,
        replica: Replica,
        packed: Packed,
        scope: Scope,
        compute: torch.dtype,
        scratch: Scratch,
    ) -> None:
        """To be made after what perturbs tensors, whose modules are wrapped once more; `scratch` is allocated
        afterwards."""
        self._replica, self._packed, self._scratch = replica, packed, scratch
        self.plain: list[tuple[nn.Module, Forward]] = []
        """What is wrapped, as it ran before."""
        for block in range(replica.manifest.blocks):
            entries = replica.manifest.by_block[block]
            sites = readers(loaded, entries)
            frozen, active = {}, {}
            for site, read in sites.items():
                matrices = [entry for entry in read if entry.packable]
                beside = [entry for entry in matrices if not entry.in_scope(scope)]
                moved = [entry for entry in read if entry.in_scope(scope)]
                frozen[site] = BlockLayout(matrices, compute).nbytes
                active[site] = BlockLayout(beside, compute).nbytes + BlockLayout(moved, compute).nbytes
                if matrices:
                    module = loaded.network.get_submodule(site)
                    self.plain.append((module, module.forward))
                    module.forward = self._unpacking(module.forward, matrices, compute)
            scratch.require(frozen)
            scratch.require(active)

    def _unpacking(self, forward: Forward, matrices: Sequence[TensorEntry], compute: torch.dtype) -> Forward:
        rooms: dict[tuple[str, ...], tuple[BlockLayout, dict[int, dict[str, torch.Tensor]]]] = {}
        """Names of the packed matrices -> their layout, and views of it by where it begins."""

        def unpacking(*args: Any, **kwargs: Any) -> Any:
            packed = [entry for entry in matrices if entry.name in self._packed]
            if not packed:
                return forward(*args, **kwargs)
            names = tuple(entry.name for entry in packed)
            if names not in rooms:
                rooms[names] = BlockLayout(packed, compute), {}
            start = self._scratch.used
            try:
                copies = self._scratch.take(*rooms[names])
                for entry in packed:
                    format, slab = self._packed[entry.name]
                    unpack_into(copies[entry.name], slab, entry.shape, format)
                with TensorsSwapped(
                    (module, key, copies[entry.name].view(entry.shape))
                    for entry in packed
                    for module, key in self._replica.holders[entry.name]
                ):
                    return forward(*args, **kwargs)
            finally:
                self._scratch.used = start

        return unpacking
