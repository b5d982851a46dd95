"""The one update: from broadcast scalars to θ, the same on the server, on every worker and in a replay.

algorithm.md §3 steps 4–7. Coefficients are derived in float64 with + − × ÷ in a fixed order, put on one power-of-two
grid per (commit, block), and applied by the fused `apply_commit`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from zorba_ray.directions import DirectionBackend, Entry, direction_seed, tensor_stream
from zorba_ray.errors import Diverged
from zorba_ray.models import Manifest, TensorEntry
from zorba_ray.zo.rule import UpdateRule

_MANTISSA = 24
_SMALLEST = -149  # exponent of the smallest positive fp32


def on_grid(coefficients: np.ndarray) -> np.ndarray:
    """float64 [k] -> float32 [k], all multiples of one δ = 2^x with Σ|m_k| < 2^24, so that fp32 sums of ±c_k are exact.

    x starts at e − 24, e the frexp exponent of Σ|c|, and is raised until the ROUNDED integers fit (rng.md).

    Raises:
        Diverged: a coefficient is not finite, or the sum exceeds fp32.
    """
    total = 0.0
    for value in coefficients.tolist():
        total += abs(value)
    if not math.isfinite(total) or total >= 2.0**127:
        raise Diverged(f"the update's coefficients sum to {total}: lower zo.lr or set zo.clip")
    if total == 0.0:
        return np.zeros(len(coefficients), dtype=np.float32)
    exponent = max(math.frexp(total)[1] - _MANTISSA, _SMALLEST)
    while True:
        integers = np.rint(np.ldexp(coefficients, -exponent))
        if int(np.abs(integers).sum()) < 2**_MANTISSA:
            return np.ldexp(integers, exponent).astype(np.float32)
        exponent += 1


def block_weights(
    rule: UpdateRule, clients: Sequence[int], active: Sequence[frozenset[int]], block: int
) -> list[float]:
    """w_{n,b} of the `clients` (reported and holding `block`, ascending); they sum to 1 up to rounding.

    `data`: p_n / Σ p_m. `inverse_noise`: ∝ p_n / |A_n|.
    """
    if rule.weights == "data":
        raw = [float(rule.samples[client]) for client in clients]
    else:
        raw = [rule.samples[client] / len(active[client]) for client in clients]
    total = 0.0
    for value in raw:
        total += value
    return [value / total for value in raw]


def commit_entries(
    rule: UpdateRule,
    round: int,
    lr: float,
    clients: Sequence[int],
    scalars: np.ndarray,
    active: Sequence[frozenset[int]],
    block: int,
) -> list[tuple[int, int, float]]:
    """(seed64, direction, coefficient) of every non-zero term of `block`, in ledger order: client, step, direction.

    Args:
        clients: R_t, ascending client ids.
        scalars: float32 [len(clients), K, P], the raw ρ.
        active: A_n of every client.
    """
    holders = [place for place, client in enumerate(clients) if block in active[client]]
    weights = block_weights(rule, [clients[place] for place in holders], active, block)
    seeds: list[tuple[int, int]] = []
    values: list[float] = []
    for place, weight in zip(holders, weights, strict=True):
        for step in range(rule.local_steps):
            seed = direction_seed(rule.seed, round, rule.stream_of(clients[place]), step)
            for direction in range(rule.directions):
                seeds.append((seed, direction))
                values.append(-lr * weight * float(scalars[place, step, direction]) / rule.directions)
    grid = on_grid(np.array(values)) if values else np.zeros(0, dtype=np.float32)
    return [(seed, direction, float(c)) for (seed, direction), c in zip(seeds, grid, strict=True) if c != 0.0]


def apply_terms(
    directions: DirectionBackend,
    rule: UpdateRule,
    tensors: Sequence[TensorEntry],
    theta: Mapping[str, torch.Tensor],
    terms: Sequence[tuple[int, int, float]],
) -> None:
    """θ ← RN(θ + Σ c z) on the given tensors of one block; without a term nothing is touched."""
    for tensor in tensors:
        directions.apply_commit(
            theta[tensor.name],
            [
                Entry(tensor_stream(seed, tensor.block, tensor.slot, direction, rule.distribution), coefficient)
                for seed, direction, coefficient in terms
            ],
        )


def apply_round(
    directions: DirectionBackend,
    rule: UpdateRule,
    manifest: Manifest,
    theta: Mapping[str, torch.Tensor],
    round: int,
    lr: float,
    clients: Sequence[int],
    scalars: np.ndarray,
    active: Sequence[frozenset[int]],
) -> None:
    """One commit on one replica: every block, also those that this replica's clients never perturb."""
    for block in range(manifest.blocks):
        terms = commit_entries(rule, round, lr, clients, scalars, active, block)
        if terms:
            apply_terms(directions, rule, manifest.scoped(block, rule.scope), theta, terms)
