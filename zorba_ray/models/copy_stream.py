"""Fills the two stream buffers: by plain copies, or on a CUDA stream that runs parallel to the computing stream.

The life of a buffer: `fill` starts the copies, `arrive` makes the computation wait for them, `leave` releases the
buffer for the next `fill`. The CUDA stream has not been run on a GPU yet.
"""

from collections.abc import Sequence

import torch


class CopyStream:
    """Fills buffers 0 and 1 by copies within host memory; a copy is done when `fill` returns."""

    def fill(self, buffer: int, copies: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Starts to fill a buffer, after all earlier computations with it are done.

        Args:
            copies: (target, source), of equal size and dtype.
        """
        for target, source in copies:
            target.copy_(source)

    def arrive(self, buffer: int) -> None:
        """Computations that are started from now on wait until the buffer is filled."""

    def leave(self, buffer: int) -> None:
        """Computations that are started from now on do not need the buffer's content."""

    def drain(self) -> None:
        """Waits until all copies are done. Then sources and buffers may be written or freed."""


class CudaCopyStream(CopyStream):
    """Copies from pinned memory on a separate CUDA stream. Events order the copies and the computing stream."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._side = torch.cuda.Stream(self._device)
        self._filled = [torch.cuda.Event() for _ in range(2)]
        self._left = [torch.cuda.Event() for _ in range(2)]
        for buffer in range(2):
            self.leave(buffer)

    def fill(self, buffer: int, copies: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._side.wait_event(self._left[buffer])
        with torch.cuda.stream(self._side):
            for target, source in copies:
                target.copy_(source, non_blocking=True)
        self._filled[buffer].record(self._side)

    def arrive(self, buffer: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._filled[buffer])

    def leave(self, buffer: int) -> None:
        self._left[buffer].record(torch.cuda.current_stream(self._device))

    def drain(self) -> None:
        self._side.synchronize()
