"""How bytes reach the two stream buffers: by plain copies, or on a CUDA stream beside the one that computes.

A buffer is filled, awaited by what computes with it, and left to be filled again. The CUDA stream was not run on a GPU.
"""

from collections.abc import Sequence

import torch


class CopyStream:
    """Fills buffers 0 and 1 by copies within host memory, which are done when they return."""

    def fill(self, buffer: int, copies: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Starts to fill a buffer, once what was computed with it before is done.

        Args:
            copies: (target, source), of equal size and dtype.
        """
        for target, source in copies:
            target.copy_(source)

    def arrive(self, buffer: int) -> None:
        """What computes from now on finds the buffer filled."""

    def leave(self, buffer: int) -> None:
        """What was asked to compute so far is the last that needs the buffer's content."""

    def drain(self) -> None:
        """Returns when no copy is under way: sources and buffers may then be written or freed."""


class CudaCopyStream(CopyStream):
    """Copies from pinned memory on a stream of their own; events order them against the computing stream."""

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
