"""Directions compiled by Triton for CUDA tensors; bit-equal to `reference`.

With TRITON_INTERPRET=1 in the environment before the first import, the kernels run on CPU tensors.

A call needs at most 45 MiB of workspace on the device, for any number of seeds and elements:

- 32 MiB of random words;
- gaussian tables of 16 KiB for each of up to 512 seeds;
- 4 MiB of partial sums (2^20 elements), where there are too many seeds for one launch: more than 255 (gaussian: 15), or
  more than 512 on a small tensor.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from zorba_ray.directions.streams import Distribution, TensorStream, direction_counter, gaussian_table, tensor_counter
from zorba_ray.directions.terms import DirectionBackend, Terms, joined
from zorba_ray.directions.triton_kernels import commit, perturb, write_words

_GROUPS = 128  # counters per program of the first kernel
_ELEMENTS = 1024  # per program of the second
_WORDS = 1 << 22  # 64-bit words staged at a time: 32 MiB
_TILE = 1 << 20  # elements of the smallest tile: enough programs to fill a device
_SEEDS = 512  # at a time
_PER_GROUP: dict[Distribution, int] = {"rademacher": 256, "gaussian": 16}
_LANES = {"rademacher": torch.int32, "gaussian": torch.int64}


class TritonDirections(DirectionBackend):
    """`DirectionBackend` on Triton. Tensors are contiguous and on one device; no call waits for the device."""

    name = "triton"

    def perturb_into(
        self, scratch: torch.Tensor, theta: torch.Tensor, stream: TensorStream, scale: float, offset: int = 0
    ) -> None:
        narrow = scratch.dtype == torch.bfloat16
        source, target = _flat(theta, torch.float32), _flat(scratch, torch.bfloat16 if narrow else torch.float32)
        target = target.view(torch.int16) if narrow else target
        k0, c2 = (np.array([value], dtype=np.uint64) for value in (stream.k0, stream.c2))
        work = _Work(source.device, k0, stream.c1, c2, np.array([scale], dtype=np.float32), stream.distribution)
        values = work.values(0, 1)
        for start, count in work.tiles(source.numel()):
            lead, words = work.draw(0, 1, offset + start, count)
            _launch(
                perturb,
                _programs(lead + count),
                target[start : start + count],
                source[start : start + count],
                words,
                values,
                lead,
                count,
                GAUSSIAN=work.gaussian,
                NARROW=narrow,
                ELEMENTS=_ELEMENTS,
            )

    def apply_commits(
        self, theta: torch.Tensor, block: int, slot: int, commits: Sequence[Terms], offset: int = 0
    ) -> None:
        terms_and_ends = joined(commits)
        if terms_and_ends is None:
            return
        terms, ends = terms_and_ends
        target, k0 = _flat(theta, torch.float32), terms.seeds
        c2 = terms.directions + np.uint64(direction_counter(0, terms.distribution))
        work = _Work(target.device, k0, tensor_counter(block, slot), c2, terms.coefficients, terms.distribution)
        ends = ends.astype(np.int32)
        ends_on_device = _moved(ends, target.device)
        for start, count in work.tiles(target.numel()):
            part = target[start : start + count]
            chunk = work.seeds_at_once(offset + start, count)
            carry = torch.empty_like(part) if chunk < len(k0) else part  # one launch: the carry is never used
            for first in range(0, len(k0), chunk):
                last = min(first + chunk, len(k0))
                lead, words = work.draw(first, last, offset + start, count)
                ended, ending = np.searchsorted(ends, [first, last], side="right").tolist()
                _launch(
                    commit,
                    _programs(lead + count),
                    part,
                    carry,
                    words,
                    work.values(first, last),
                    ends_on_device[ended:ending],
                    ending - ended,
                    first,
                    last - first,
                    words.shape[1],
                    lead,
                    count,
                    GAUSSIAN=work.gaussian,
                    WIDTH=work.width,
                    CARRIED=first > 0 and first not in ends,
                    OPEN=last not in ends,
                    ELEMENTS=_ELEMENTS,
                )


class _Work:
    """Keys and coefficients of one call, on its device. Cuts the call into parts that fit the workspace."""

    def __init__(
        self,
        device: torch.device,
        k0: np.ndarray,
        c1: int,
        c2: np.ndarray,
        coefficients: np.ndarray,
        distribution: Distribution,
    ) -> None:
        """k0, c2: uint64 [K]; c1: the tensor's counter; coefficients: float32 [K]."""
        self.gaussian = distribution == "gaussian"
        self._device = device
        self._entries = len(k0)
        self._group = _PER_GROUP[distribution]
        self._lanes = _LANES[distribution]
        self._keys = _moved(np.stack([k0, np.full_like(k0, c1), c2], axis=1).view(np.int64), device)
        self._coefficients = _moved(coefficients, device)
        self._table = _table(device) if self.gaussian else None
        self.width = 1 if self._table is None else len(self._table)

    def tiles(self, size: int) -> Iterator[tuple[int, int]]:
        """(start, count) of parts whose words for all seeds fit the workspace; a part has at least _TILE elements."""
        tile = max(_TILE, (_WORDS // (4 * self._entries) - 1) * self._group)
        for start in range(0, size, tile):
            yield start, min(tile, size - start)

    def seeds_at_once(self, position: int, count: int) -> int:
        """Seeds whose words for `count` elements from `position` fit the workspace."""
        return min(_SEEDS, max(1, _WORDS // (4 * self._span(position, count)[1])))

    def draw(self, first: int, last: int, position: int, count: int) -> tuple[int, torch.Tensor]:
        """(entries before `position` in its group, the words of seeds `first` … `last` − 1).

        The words have the type that the second kernel reads: int32 [seeds, 8 · groups] with 32 signs each, or int64
        [seeds, 4 · groups] with 4 gaussian entries each.
        """
        lead, groups = self._span(position, count)
        words = torch.empty((last - first, 4 * groups), dtype=torch.int64, device=self._device)
        grid = (-(-groups // _GROUPS), last - first)
        _launch(write_words, grid, words, self._keys[first:last], position // self._group, groups, GROUPS=_GROUPS)
        return lead, words.view(self._lanes)

    def values(self, first: int, last: int) -> torch.Tensor:
        """fp32 [seeds] coefficients, or [seeds, 4096] tables, each entry rounded once."""
        values = self._coefficients[first:last]
        return values if self._table is None else values[:, None] * self._table

    def _span(self, position: int, count: int) -> tuple[int, int]:
        lead = position % self._group
        return lead, -(-(lead + count) // self._group)


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    """Runs `kernel` on the device of its first argument, which need not be the current one."""
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, **constants, enable_fp_fusion=False)


def _flat(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    assert tensor.dtype == dtype, tensor.dtype
    assert tensor.is_contiguous(), tensor.stride()
    return tensor.detach().view(-1)


def _moved(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy on `device`. CUDA has read pageable memory before the call returns, so nothing has to wait."""
    return torch.from_numpy(values.copy()).to(device, non_blocking=True)


@functools.cache
def _table(device: torch.device) -> torch.Tensor:
    return _moved(gaussian_table(), device)


def _programs(elements: int) -> tuple[int]:
    """Grid of the second kernel for `elements`, which include those before the shard in its first group."""
    return (-(-elements // _ELEMENTS),)
