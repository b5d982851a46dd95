"""The device that is measured: its clock and its allocator. Tests put the CPU in its place."""

from collections.abc import Callable

import torch


class Device:
    """The current CUDA device."""

    name = "cuda"
    directions = "triton"
    """Backend of directions that must work there."""

    def label(self) -> str:
        """What the card calls itself."""
        return torch.cuda.get_device_name()

    def seconds(self, call: Callable[[], object], times: int = 1) -> float:
        """Seconds of one of `times` calls in a row, by the device's clock, which does not wait for the host between
        them."""
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(times):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / times

    def turns(self, call: Callable[[], object], turns: int, times: int = 1) -> list[float]:
        """`seconds`, so many times; a call before them is not counted (compilation, first touch of memory)."""
        call()
        return [self.seconds(call, times) for _ in range(turns)]

    def allocated(self) -> int:
        """Bytes that torch has given out now, with those that its library of matrix products keeps from its first call
        on."""
        for dtype in (torch.float32, torch.bfloat16):
            square = torch.ones(64, 64, device=self.name, dtype=dtype)
            torch.mm(square, square)
            del square
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    def peak(self, call: Callable[[], object]) -> int:
        """The most bytes that torch has given out at once while `call` runs."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
