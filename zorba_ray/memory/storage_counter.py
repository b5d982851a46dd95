"""Bytes of all live tensors, by part, at their peak.

A dispatch mode sees every tensor that an operator returns; what is counted is its storage, once, until it dies. Under
`FakeTensorMode` nothing is allocated, so a model of any size is counted in seconds. Storage inside a kernel and the
rounding of an allocator (512 bytes on CUDA) are not seen. Count without gradients under `torch.no_grad`: in inference
mode a dispatch mode is given composite operators whole, and does not see what they make on the way.
"""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

HOST = "host"
"""The part that is not counted: what lies in host memory. Fake tensors of another device need a torch built for it."""


class StorageCounter(TorchDispatchMode):
    """Counts while it is entered. New storage belongs to the part named by the innermost `part`."""

    def __init__(self) -> None:
        super().__init__()
        self._part = "activations"
        self._live: dict[str, int] = {}
        self._total = 0
        self._known: dict[int, tuple[str, int, weakref.ref[Any]]] = {}
        """Address of a live storage -> part, bytes, and a watch over its end."""
        self._peak: dict[str, int] = {}
        self._peak_total = 0

    @property
    def peak(self) -> dict[str, int]:
        """Part -> bytes at the moment of the largest sum since `restart`."""
        return dict(self._peak)

    def restart(self) -> None:
        """Forgets the peak, not what is live."""
        self._peak, self._peak_total = self._live.copy(), self._total

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Where storage made inside belongs."""
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
            for one in out:
                if isinstance(one, torch.Tensor):
                    self._note(one)
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
