"""A block's tensors as one run of bytes in the compute dtype: what is copied to an accelerator at once."""

from collections.abc import Collection, Sequence

import torch

from zorba_ray.models.manifest import TensorEntry

_ALIGNMENT = 64


def compute_dtype(entry: TensorEntry, dtype: torch.dtype) -> torch.dtype:
    """dtype of a tensor that computes: matrices in `dtype`, vectors in fp32 (algorithm.md §6)."""
    return dtype if len(entry.shape) >= 2 else torch.float32


class BlockLayout:
    """Places of tensors in manifest order, each 64-byte aligned; in fp32 those of the arena."""

    def __init__(self, entries: Sequence[TensorEntry], dtype: torch.dtype) -> None:
        """`dtype`: of matrices."""
        self._spans: dict[str, tuple[int, int, torch.dtype]] = {}
        end = 0
        for entry in entries:
            own = compute_dtype(entry, dtype)
            size = entry.numel * own.itemsize
            self._spans[entry.name] = (end, size, own)
            end += -(-size // _ALIGNMENT) * _ALIGNMENT
        self.nbytes = end

    def view(self, buffer: torch.Tensor, name: str) -> torch.Tensor:
        """A tensor (flat) inside a buffer of bytes."""
        start, size, dtype = self._spans[name]
        return buffer[start : start + size].view(dtype)

    def size(self, name: str) -> int:
        """Bytes of one tensor."""
        return self._spans[name][1]

    def runs(self, names: Collection[str]) -> list[slice]:
        """The bytes of some tensors, neighbours together."""
        found: list[slice] = []
        for name, (start, size, _) in self._spans.items():
            if name not in names:
                continue
            stop = start + -(-size // _ALIGNMENT) * _ALIGNMENT
            if found and found[-1].stop == start:
                found[-1] = slice(found[-1].start, stop)
            else:
                found.append(slice(start, stop))
        return found
