"""Directions on a CUDA device: what share of its copy bandwidth they reach, and whether θ is the CPU's after a commit.

Bytes counted are those of θ and scratch alone, read once and written once: words and tables are overhead.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks.rows import Row, make_row, not_run
from zorba_ray.config import load_config
from zorba_ray.directions import DirectionBackend, Distribution, Terms, direction_backend, tensor_stream
from zorba_ray.experiment.task_model import task_model
from zorba_ray.models import load_model

DISTRIBUTIONS: tuple[Distribution, ...] = ("rademacher", "gaussian")
DTYPES = (torch.float32, torch.bfloat16)
SEEDS = (1, 8, 64)
_NO_GOAL = "none, a share of copy_"
_SAME = "0, the CPU's SHA-256"


def rows(quick: bool) -> list[Row]:
    """All rows; without a CUDA device each says that it was not run. `quick`: 2^22 elements for 2^26."""
    perturb: list[tuple[str, Distribution, torch.dtype]] = [
        (f"perturb {d} {_short(t)}, triton", d, t) for d, t in itertools.product(DISTRIBUTIONS, DTYPES)
    ]
    commit: list[tuple[str, Distribution, int]] = [
        (f"commit {d} K={k} fp32, triton", d, k) for d, k in itertools.product(DISTRIBUTIONS, SEEDS)
    ]
    equal: list[tuple[str, Distribution]] = [
        (f"replicas after a {d} commit of 64 that differ between CPU and GPU", d) for d in DISTRIBUTIONS
    ]
    if not torch.cuda.is_available():
        shares = [not_run(name, "of copy_", _NO_GOAL) for name, *_ in (*perturb, *commit)]
        return [*shares, *(not_run(name, "", _SAME) for name, _ in equal)]
    size, turns = (1 << 22, 5) if quick else (1 << 26, 15)
    directions = direction_backend("triton", "cuda")
    found = []
    for name, distribution, dtype in perturb:
        found.append(_share(name, _perturb(directions, distribution, dtype, size), turns, size, 4 + dtype.itemsize))
    for name, distribution, seeds in commit:
        found.append(_share(name, _commit(directions, distribution, seeds, size), turns, size, 8))
    for name, distribution in equal:
        differ = float(len({_digest(distribution, device) for device in ("cpu", "cuda")}) - 1)
        found.append(_on_card(make_row(name, [differ], "", _SAME, differ == 0.0)))
    return found


def _perturb(directions: DirectionBackend, distribution: Distribution, dtype: torch.dtype, size: int) -> Callable:
    theta, scratch = torch.ones(size, device="cuda"), torch.empty(size, dtype=dtype, device="cuda")
    stream = tensor_stream(1, 2, 3, 0, distribution)
    return lambda: directions.perturb_into(scratch, theta, stream, 1e-3)


def _commit(directions: DirectionBackend, distribution: Distribution, seeds: int, size: int) -> Callable:
    theta, terms = torch.ones(size, device="cuda"), _terms(distribution, seeds)
    return lambda: directions.apply_commits(theta, 2, 3, [terms])


def _terms(distribution: Distribution, seeds: int) -> Terms:
    numbers = np.arange(seeds, dtype=np.uint64)
    coefficients = (numbers.astype(np.float32) - np.float32(30.5)) * np.float32(2.0**-20)
    return Terms(np.ones(seeds, dtype=np.uint64), numbers, coefficients, distribution)


def _share(name: str, call: Callable, turns: int, size: int, bytes_each: int) -> Row:
    """Bandwidth of `call` over that of `copy_` (8 bytes an element), in turns on one card."""
    source, target = torch.ones(size, device="cuda"), torch.empty(size, device="cuda")
    shares = []
    for _ in range(turns):
        copied, called = _seconds(lambda: target.copy_(source)), _seconds(call)
        shares.append(bytes_each / called / (8 / copied))
    return _on_card(make_row(name, shares, "of copy_", _NO_GOAL, None))


def _on_card(row: Row) -> Row:
    return replace(row, device=torch.cuda.get_device_name())


def _seconds(call: Callable) -> float:
    """Of ten calls in a row by the device's clock, so that it never waits for the host; after one to warm up."""
    call()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(10):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def _digest(distribution: Distribution, device: str) -> str:
    """θ of the built-in model after a commit of 64 entries on every tensor."""
    config = load_config("demo", [])
    replica = task_model(load_model(config.model), config, device).replica
    directions = direction_backend("numpy" if device == "cpu" else "triton", device)
    for entry in replica.manifest.tensors:
        theta = replica.parameters[entry.name]
        directions.apply_commits(theta, entry.block, entry.slot, [_terms(distribution, 64)])
    return replica.digest()


def _short(dtype: torch.dtype) -> str:
    return "bf16" if dtype == torch.bfloat16 else "fp32"
