"""Kernels against the machine: what share of its copy bandwidth they reach.

Bytes counted are those that must be read and written once: θ and scratch of directions (words and tables are overhead),
the slab and the values of a packed matrix.
"""

import functools
import itertools
from collections.abc import Callable
from typing import get_args

import torch

from benchmarks.gpu.digests import DISTRIBUTIONS, DTYPES, terms
from benchmarks.gpu.session import Session
from zorba_ray.directions import Distribution, direction_backend, tensor_stream
from zorba_ray.formats import PackedFormat, slab, unpack_into

SEEDS = (1, 8, 64)
_CALLS = 10
"""Per measurement, so that the device does not wait for the host."""
_SHARE = "of copy_"


def measure(session: Session) -> None:
    """Rows of the machine, then of each kernel."""
    sizes = session.sizes
    session.row("copy_ within the device, read and written", "GB/s", None, functools.partial(copied, session))
    session.row("copy_ from pinned host memory", "GB/s", None, functools.partial(linked, session))
    session.row(f"bf16 product of {sizes.product}²", "TFLOP/s", None, functools.partial(multiplied, session))
    values, (height, width) = sizes.elements, sizes.matrix
    for distribution, dtype in itertools.product(DISTRIBUTIONS, DTYPES):
        make = functools.partial(_perturb, session, distribution, DTYPES[dtype])
        _row(session, f"perturb {distribution} {dtype}", make, values * (4 + DTYPES[dtype].itemsize))
    for distribution, seeds in itertools.product(DISTRIBUTIONS, SEEDS):
        make = functools.partial(_commit, session, distribution, seeds)
        _row(session, f"commit {distribution} K={seeds} fp32", make, values * 8)
    for format, dtype in itertools.product(get_args(PackedFormat), DTYPES):
        make = functools.partial(_unpack, session, format, DTYPES[dtype])
        moved = slab(format, sizes.matrix).nbytes + height * width * DTYPES[dtype].itemsize
        _row(session, f"unpack {format} to {dtype}", make, moved)


def copied(session: Session) -> list[float]:
    """GB/s within the device, read and written."""
    source = torch.ones(session.sizes.elements, device=session.device.name)
    target = torch.empty_like(source)
    found = session.device.turns(lambda: target.copy_(source), session.sizes.turns, _CALLS)
    return [2 * source.nbytes / seconds / 1e9 for seconds in found]


def linked(session: Session) -> list[float]:
    """GB/s from the host."""
    source = torch.ones(session.sizes.elements, pin_memory=session.device.name == "cuda")
    target = torch.empty_like(source, device=session.device.name)
    found = session.device.turns(lambda: target.copy_(source, non_blocking=True), session.sizes.turns)
    return [source.nbytes / seconds / 1e9 for seconds in found]


def multiplied(session: Session) -> list[float]:
    """TFLOP/s of a product of bf16 matrices."""
    size = session.sizes.product
    left, right = (torch.randn(size, size, device=session.device.name).bfloat16() for _ in range(2))
    found = session.device.turns(lambda: left @ right, session.sizes.turns, _CALLS)
    return [2 * size**3 / seconds / 1e12 for seconds in found]


def _perturb(session: Session, distribution: Distribution, dtype: torch.dtype) -> Callable[[], object]:
    theta = torch.ones(session.sizes.elements, device=session.device.name)
    scratch, stream = torch.empty_like(theta, dtype=dtype), tensor_stream(1, 2, 3, 0, distribution)
    directions = direction_backend(session.device.directions, session.device.name)
    return lambda: directions.perturb_into(scratch, theta, stream, 1e-3)


def _commit(session: Session, distribution: Distribution, seeds: int) -> Callable[[], object]:
    theta, commits = torch.ones(session.sizes.elements, device=session.device.name), [terms(distribution, seeds)]
    directions = direction_backend(session.device.directions, session.device.name)
    return lambda: directions.apply_commits(theta, 2, 3, commits)


def _unpack(session: Session, format: PackedFormat, dtype: torch.dtype) -> Callable[[], object]:
    shape, device = session.sizes.matrix, session.device.name
    packed = torch.zeros(slab(format, shape).nbytes, dtype=torch.uint8, device=device)
    target = torch.empty(shape[0] * shape[1], dtype=dtype, device=device)
    return lambda: unpack_into(target, packed, shape, format)


def _row(session: Session, name: str, make: Callable[[], Callable[[], object]], moved: int) -> None:
    """Bandwidth of a call that moves so many bytes over that of `copy_`, in turns on one card."""

    def shares() -> list[float]:
        call, device = make(), session.device
        source = torch.ones(session.sizes.elements, device=device.name)
        target, found = torch.empty_like(source), []
        call()
        for _ in range(session.sizes.turns):
            copy, ours = device.seconds(lambda: target.copy_(source), _CALLS), device.seconds(call, _CALLS)
            found.append(moved / ours / (2 * source.nbytes / copy))
        return found

    session.row(name, _SHARE, None, shares)
