"""Direction arithmetic against MeZO's pass and against the machine's own in-place add."""

import numpy as np
import torch

from benchmarks.alternate import alternate, at_least, at_most, cost_row, ratio_rows
from benchmarks.rows import Row
from benchmarks.twins import mezo_pass
from zorba_ray.directions import Distribution, Terms, direction_backend, tensor_stream

ELEMENTS = 2**24
PASSES = 8
MU = 1e-3


def rows(quick: bool) -> list[Row]:
    """All rows of this file."""
    turns = 3 if quick else 15
    return [
        *perturbation(turns),
        *commits(64, 2**20 if quick else 2**22, turns),
        *commits(512, 2**18 if quick else 2**21, turns),
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
