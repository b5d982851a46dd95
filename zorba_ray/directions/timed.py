"""Directions whose time is taken. Used only where a run is profiled."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch

from zorba_ray.directions.backend import DirectionBackend, Terms
from zorba_ray.directions.streams import TensorStream
from zorba_ray.stopwatch import Watch


class TimedDirections:
    """Another implementation, with its time charged to the parts `perturb` and `commit`; of each the first call, which
    loads or compiles a kernel, to `kernels`."""

    def __init__(self, inner: DirectionBackend, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch
        self._called: set[str] = set()
        self.name = inner.name

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        _await_device(theta)
        with self._part("perturb"):
            self._inner.perturb_into(scratch, theta, stream, scale, offset)
            _await_device(theta)

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        _await_device(theta)
        with self._part("commit"):
            self._inner.apply_commits(theta, block, slot, commits, offset)
            _await_device(theta)

    def _part(self, name: str) -> AbstractContextManager[None]:
        first = name not in self._called
        self._called.add(name)
        return self._watch.part("kernels" if first else name)


def timed(inner: DirectionBackend, watch: Watch) -> DirectionBackend:
    """`inner`, timed if the watch runs, else itself."""
    return TimedDirections(inner, watch) if watch.running else inner


def _await_device(tensor: torch.Tensor) -> None:
    """A GPU works behind the program's back: what it still has to do is waited for, and belongs to who asked for it."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
