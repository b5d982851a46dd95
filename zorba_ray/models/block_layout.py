"""The layout of several tensors in one buffer of bytes, to copy or perturb them together."""

from collections.abc import Collection, Sequence

import torch

from zorba_ray.formats import Format, slab
from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.swap import ALIGNMENT


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
            self.nbytes += -(-size // ALIGNMENT) * ALIGNMENT

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
            stop = span.start + -(-(span.stop - span.start) // ALIGNMENT) * ALIGNMENT
            if runs and runs[-1].stop == span.start:
                runs[-1] = slice(runs[-1].start, stop)
            else:
                runs.append(slice(span.start, stop))
        return runs
