"""The scratch buffer of one client: copies of a module's tensors, perturbed or unpacked, while the module runs.

Modules in progress hold pieces of it like a stack: a parent's piece lies before those of its children.
"""

from collections.abc import Mapping, Sequence

import torch

from zorba_ray.models.block_layout import BlockLayout
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.swap import is_aligned


def readers(loaded: LoadedModel, entries: Sequence[TensorEntry]) -> dict[str, list[TensorEntry]]:
    """Name of a module -> the tensors among `entries` that it reads; as a rule the module that holds them."""
    sites: dict[str, list[TensorEntry]] = {}
    for entry in entries:
        owner = entry.name.rpartition(".")[0]  # of a tensor that was added after the trace
        sites.setdefault(loaded.trace.readers.get(entry.name, owner), []).append(entry)
    return sites


class Scratch:
    """A buffer that grows until `allocate`, and has one size from then on."""

    def __init__(self) -> None:
        self._size = 0
        self.used = 0
        """Bytes that modules in progress hold. Who takes a piece sets it back to what it was before."""
        self.memory = torch.empty(0, dtype=torch.uint8)
        """uint8: the buffer."""

    def require(self, sizes: Mapping[str, int]) -> None:
        """Makes room for these modules, of which a parent is in progress while its children are.

        Args:
            sizes: name of a module -> bytes of the copies that it needs.
        """
        for site in sizes:
            chain = sum(size for other, size in sizes.items() if f"{site}.".startswith(f"{other}."))
            self._size = max(self._size, chain)

    def allocate(self, device: torch.device | str) -> None:
        """Makes the buffer."""
        self.memory = torch.empty(self._size, dtype=torch.uint8, device=device)
        assert is_aligned(self.memory), "the buffer must be 64-byte aligned"

    def take(self, layout: BlockLayout, rooms: dict[int, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The tensors of a layout, in a piece behind those that are held. A plain call, because it is made for every
        module of a pass.

        Args:
            rooms: bytes before the piece -> its tensors: kept by the caller, because making views takes time.
        """
        start = self.used
        if start not in rooms:
            rooms[start] = layout.views(self.memory[start:])
        self.used += layout.nbytes
        return rooms[start]
