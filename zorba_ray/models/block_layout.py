"""The layout of several tensors in one buffer of bytes, to copy or perturb them together; and the scratch buffer of one
client: copies of a module's tensors, perturbed or unpacked, while the module runs."""

from collections.abc import Collection, Mapping, Sequence

import torch

from zorba_ray.formats import Format, aligned, slab
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.swap import is_aligned


class BlockLayout:
    """Byte spans of tensors in the given order, each aligned to 64 bytes. In fp32 they are the same as in the arena."""

    def __init__(self, entries: Sequence[TensorEntry], dtype: torch.dtype, format: Format = "compute") -> None:
        """
        Args:
            dtype: compute dtype of matrices; vectors are fp32.
            format: of the matrices that can be packed.
        """
        self._spans: dict[str, tuple[slice, torch.dtype]] = {}
        self.packed: frozenset[str] = frozenset()
        """Names of the tensors whose bytes are a slab (`formats.sizes`)."""
        self.nbytes = 0
        if format != "compute":
            self.packed = frozenset(entry.name for entry in entries if entry.packable)
        for entry in entries:
            if format != "compute" and entry.packable:
                kind, size = torch.uint8, slab(format, entry.shape).nbytes
            else:
                kind = entry.compute_dtype(dtype)
                size = entry.numel * kind.itemsize
            self._spans[entry.name] = (slice(self.nbytes, self.nbytes + size), kind)
            self.nbytes += aligned(size)

    def view(self, buffer: torch.Tensor, name: str) -> torch.Tensor:
        """A tensor (flat) inside a buffer of bytes, or the slab of a packed one."""
        span, dtype = self._spans[name]
        return buffer[span].view(dtype)

    def views(self, buffer: torch.Tensor) -> dict[str, torch.Tensor]:
        """All tensors by name, as `view`."""
        return {name: self.view(buffer, name) for name in self._spans}

    def runs(self, names: Collection[str]) -> list[slice]:
        """Byte spans of the tensors in `names`; spans that touch are joined."""
        runs: list[slice] = []
        for name, (span, _) in self._spans.items():
            if name not in names:
                continue
            stop = span.start + aligned(span.stop - span.start)
            if runs and runs[-1].stop == span.start:
                runs[-1] = slice(runs[-1].start, stop)
            else:
                runs.append(slice(span.start, stop))
        return runs


def readers(loaded: LoadedModel, entries: Sequence[TensorEntry]) -> dict[str, list[TensorEntry]]:
    """Name of a module -> the tensors among `entries` that it reads; as a rule the module that holds them."""
    sites: dict[str, list[TensorEntry]] = {}
    for entry in entries:
        owner = entry.name.rpartition(".")[0]  # of a tensor that was added after the trace
        sites.setdefault(loaded.trace.readers.get(entry.name, owner), []).append(entry)
    return sites


class Scratch:
    """A buffer that grows until `allocate`, and has one size from then on. Modules in progress hold pieces of it like a
    stack: a parent's piece lies before those of its children."""

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
