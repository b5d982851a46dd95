"""Direction arithmetic against MeZO's pass and the machine's own in-place add; packed formats against bitsandbytes."""

import importlib
import importlib.util

import numpy as np
import torch

from benchmarks.alternate import alternate, at_least, at_most, cost_row, ratio_rows
from benchmarks.rows import Row, not_run
from benchmarks.twins import mezo_pass
from zorba_ray.directions import Distribution, Terms, direction_backend, tensor_stream
from zorba_ray.formats import PackedFormat, pack_into, slab, unpack_into

ELEMENTS = 2**24
MATRIX = (4096, 2048)
PASSES = 8
MU = 1e-3


def rows(quick: bool) -> list[Row]:
    """All rows of this file."""
    turns = 3 if quick else 15
    return [
        *perturbation(turns),
        *commits(64, 2**20 if quick else 2**22, turns),
        *commits(512, 2**18 if quick else 2**21, turns),
        *packing("int8", turns),
        *packing("nf4", turns),
        *bitsandbytes(3),
    ]


def perturbation(turns: int) -> list[Row]:
    """One perturbed copy of 16M elements: fp32 and bf16 scratch, ±1 and normal directions."""
    directions = direction_backend("numba")
    theta, other = torch.randn(ELEMENTS), torch.randn(ELEMENTS)
    scratch, narrow = torch.empty(ELEMENTS), torch.empty(ELEMENTS, dtype=torch.bfloat16)

    def perturb(target: torch.Tensor, distribution: Distribution) -> None:
        directions.perturb_into(target, theta, tensor_stream(1, 0, 0, 0, distribution), MU)

    mezo, add, signs, bf16, normal = alternate(
        [
            lambda: mezo_pass([theta], 1, MU),
            lambda: theta.add_(other),
            lambda: perturb(scratch, "rademacher"),
            lambda: perturb(narrow, "rademacher"),
            lambda: perturb(scratch, "gaussian"),
        ],
        turns,
    )
    name = "perturb 16M fp32 elements"
    return [
        *ratio_rows(f"{name}: MeZO's pass / ours", mezo, signs, at_least(15, "×")),
        *ratio_rows(f"{name}: ours / p.add_(x)", signs, add, at_most(1.6, "×")),
        *ratio_rows(f"{name} to bf16 scratch: MeZO's fp32 pass / ours", mezo, bf16, None),
        *ratio_rows(f"{name}, gaussian table: MeZO's pass / ours", mezo, normal, None),
    ]


def commits(seeds: int, elements: int, turns: int) -> list[Row]:
    """One fused update of `seeds` directions, per element and seed; MeZO's pass is timed over 8 of them."""
    directions = direction_backend("numba")
    theta = torch.randn(elements)
    numbers = np.arange(seeds, dtype=np.uint64)
    terms = Terms(numbers, np.zeros_like(numbers), np.full(seeds, 2.0**-20, dtype=np.float32), "rademacher")

    def passes() -> None:
        for seed in range(PASSES):
            mezo_pass([theta], seed, 1e-9)

    mezo, ours = alternate([passes, lambda: directions.apply_commits(theta, 0, 0, [terms])], turns)
    name = f"fused update, K = {seeds} ({elements / 2**20:g}M elements)"
    return [
        *ratio_rows(f"{name}: MeZO's pass / ours per seed", mezo, ours, at_least(25, "×"), seeds / PASSES),
        cost_row(f"{name}: per element and seed", ours, "ns", at_most(0.25, " ns"), 1e9 / (elements * seeds)),
        cost_row(f"{name}: MeZO's pass per element", mezo, "ns", None, 1e9 / (elements * PASSES)),
    ]


def packing(format: PackedFormat, turns: int) -> list[Row]:
    """A matrix of 8M values packed, and unpacked to fp32 and to bf16, per value."""
    matrix = torch.randn(MATRIX).flatten()
    packed = torch.empty(slab(format, MATRIX).nbytes, dtype=torch.uint8)
    wide, narrow = torch.empty_like(matrix), torch.empty_like(matrix, dtype=torch.bfloat16)
    times = alternate(
        [
            lambda: pack_into(packed, matrix, MATRIX, format),
            lambda: unpack_into(wide, packed, MATRIX, format),
            lambda: unpack_into(narrow, packed, MATRIX, format),
        ],
        turns,
    )
    works = (("pack", at_most(2, " ns")), ("unpack to fp32", None), ("unpack to bf16", None))
    return [
        cost_row(f"{format}: {work}, per parameter", taken, "ns", goal, 1e9 / len(matrix))
        for (work, goal), taken in zip(works, times, strict=True)
    ]


def bitsandbytes(turns: int) -> list[Row]:
    """What bitsandbytes takes for nf4 on this CPU."""
    name = "nf4: bitsandbytes packs, per parameter"
    if importlib.util.find_spec("bitsandbytes") is None:
        return [not_run(name, "ns", "none, for comparison", "bitsandbytes is not installed")]
    functional = importlib.import_module("bitsandbytes.functional")
    matrix = torch.randn(MATRIX)
    (times,) = alternate([lambda: functional.quantize_4bit(matrix, blocksize=64, quant_type="nf4")], turns)
    return [cost_row(name, times, "ns", None, 1e9 / matrix.numel())]
