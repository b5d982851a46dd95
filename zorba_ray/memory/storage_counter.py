"""Counts the bytes of all live tensors, by part, at their peak.

A dispatch mode of torch sees every tensor that an operator returns. Its storage is counted once, until it is freed.
Under `FakeTensorMode` nothing is allocated, so a model of any size is counted in seconds. Memory inside a kernel and
the rounding of an allocator (512 bytes on CUDA) are not seen.

To count without gradients use `torch.no_grad`. In inference mode the dispatch mode sees composite operators as one, and
misses the tensors that they make inside.
"""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

HOST = "host"
"""The part that is not counted: host memory. It needs a label, because fake tensors of another device need a torch
built for that device."""


class StorageCounter(TorchDispatchMode):
    """Counts inside a `with` block. New storage belongs to the part named by the innermost `part`."""

    def __init__(self) -> None:
        super().__init__()
        self._part = "activations"
        self._live: dict[str, int] = {}
        self._total = 0
        self._known: dict[int, tuple[str, int, weakref.ref[Any]]] = {}
        """Address of a live storage -> part, bytes, and a weak reference that tells when it is freed."""
        self._peak: dict[str, int] = {}
        self._peak_total = 0

    @property
    def peak(self) -> dict[str, int]:
        """Part -> bytes at the moment of the largest sum since `restart`."""
        return dict(self._peak)

    def restart(self) -> None:
        """Sets the peak to what is live now."""
        self._peak, self._peak_total = self._live.copy(), self._total

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Storage that is made inside belongs to this part."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def label(self, tensor: torch.Tensor, part: str) -> None:
        """Moves the storage of a tensor to a part."""
        key = self._note(tensor)
        before, size, watch = self._known[key]
        self._known[key] = (part, size, watch)
        self._add(before, -size)
        self._add(part, size)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self._note(out)
        elif isinstance(out, (tuple, list)):
            for tensor in out:
                if isinstance(tensor, torch.Tensor):
                    self._note(tensor)
        return out

    def _note(self, tensor: torch.Tensor) -> int:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            watch = weakref.ref(storage, lambda _: self._drop(key))
            self._known[key] = (self._part, storage.nbytes(), watch)
            self._add(self._part, storage.nbytes())
        return key

    def _drop(self, key: int) -> None:
        part, size, _ = self._known.pop(key)
        self._add(part, -size)

    def _add(self, part: str, size: int) -> None:
        if part == HOST:
            return
        self._live[part] = self._live.get(part, 0) + size
        self._total += size
        if self._total > self._peak_total:
            self.restart()
