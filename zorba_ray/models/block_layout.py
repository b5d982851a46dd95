"""Tensors as one run of bytes in the compute dtype: what is copied to an accelerator, or perturbed, at once."""

from collections.abc import Collection, Sequence

import torch

from zorba_ray.models.manifest import TensorEntry
from zorba_ray.models.swap import ALIGNMENT


class BlockLayout:
    """Spans of tensors in the order given, each 64-byte aligned; in fp32 those of the arena."""

    def __init__(self, entries: Sequence[TensorEntry], dtype: torch.dtype) -> None:
        """`dtype`: of matrices."""
        self._spans: dict[str, tuple[slice, torch.dtype]] = {}
        self.nbytes = 0
        for entry in entries:
            kind = entry.compute_dtype(dtype)
            size = entry.numel * kind.itemsize
            self._spans[entry.name] = (slice(self.nbytes, self.nbytes + size), kind)
            self.nbytes += -(-size // ALIGNMENT) * ALIGNMENT

    def view(self, buffer: torch.Tensor, name: str) -> torch.Tensor:
        """A tensor (flat) inside a buffer of bytes."""
        span, dtype = self._spans[name]
        return buffer[span].view(dtype)

    def runs(self, names: Collection[str]) -> list[slice]:
        """The bytes of some tensors, neighbours together."""
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
