"""The probe of the blocks (algorithm.md §5): forward pairs on one block at a time, along directions that all clients
share, on two independent batches of each client.

Along a direction z with E[z zᵀ] = 1 a scalar is ρ = ⟨z, g_n + ξ⟩, g_n = ∇_b F_n and ξ the batch's noise, so products of
scalars along one z have as means inner products of gradients: across batches the noise drops out,

    E[ρ_n^A ρ_n^B] = ‖g_n‖²,   E[ρ_n ρ_m] = ⟨g_n, g_m⟩,   E[(ρ_n^A − ρ_n^B)²] / 2 = E‖ξ‖².
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.directions import PROBE, direction_seed
from zorba_ray.models import Batch, Perturbation, TaskModel
from zorba_ray.zo.estimator import projected_gradient
from zorba_ray.zo.update import UpdateRule

_LEAST_SHARE = 1e-3
"""ω of a block is at least this share of the largest one: no block may be given up."""


@dataclass(frozen=True)
class BlockEnergies:
    """What a probe says of each block, float64 [L]; an estimate below 0, which noise can give, is 0."""

    energy: np.ndarray
    """g_b² = ‖Σ_n p_n ∇_b F_n‖²."""
    dissimilarity: np.ndarray
    """ζ_b² = Σ_n p_n ‖∇_b F_n − Σ_m p_m ∇_b F_m‖² / (1 − Σ_n p_n²): with equal p_n the sample variance, for which a
    random set of N_b of N clients has the bias² ζ_b² (1/N_b − 1/N)."""
    noise: np.ndarray
    """σ_b² = Σ_n p_n E‖ξ_n‖² of one batch of the run's size."""
    dissimilarity_error: np.ndarray
    """Standard error of ζ_b² over the directions."""


def probe_scalars(
    model: TaskModel,
    rule: UpdateRule,
    round: int,
    scale: float,
    blocks: Sequence[int],
    pairs: int,
    batches: Sequence[Batch],
) -> np.ndarray:
    """float32 [batches, blocks, pairs]: ρ with z supported on one block; θ is read only. The same z for every client
    and batch."""
    seed = direction_seed(rule.seed, round, PROBE, 0)
    scalars = np.zeros((len(batches), len(blocks), pairs), dtype=np.float32)
    for which, batch in enumerate(batches):
        for place, block in enumerate(blocks):
            prepared = model.prepare(batch, frozenset({block}))
            for pair in range(pairs):
                plus, minus = model.pair(prepared, Perturbation(seed, pair, scale, rule.distribution))
                scalars[which, place, pair] = projected_gradient(plus, minus, scale)
    return scalars


def block_energies(scalars: np.ndarray, data_weight: np.ndarray) -> BlockEnergies:
    """Estimates from the scalars of n clients, each mean over the directions.

    Args:
        scalars: float [n, 2, L, pairs]; NaN for the blocks that a client did not probe, at least two pairs.
        data_weight: float64 [n], p_n up to a factor.
    """
    blocks, pairs = scalars.shape[2:]
    found = np.zeros((4, blocks))
    for block in range(blocks):
        probed = np.isfinite(scalars[:, :, block]).all(axis=(1, 2))
        if not probed.any():
            continue
        first, second = scalars[probed, :, block].astype(np.float64).transpose(1, 0, 2)  # [n, pairs] each
        share = (data_weight[probed] / data_weight[probed].sum())[:, None]
        half_gap = (first - second) ** 2 / 4.0
        together = (share * (first + second) / 2.0).sum(axis=0) ** 2  # all inner products, ‖g_n‖² with noise
        energy = together - (share**2 * half_gap).sum(axis=0)
        own = (share * first * second).sum(axis=0)
        left = 1.0 - float((share**2).sum())
        spread = (own - energy) / left if probed.sum() > 1 else np.zeros(pairs)
        noise = 2.0 * (share * half_gap).sum(axis=0)
        found[:, block] = (
            max(0.0, energy.mean()), max(0.0, spread.mean()), noise.mean(), spread.std(ddof=1) / np.sqrt(pairs)
        )  # fmt: skip
    return BlockEnergies(*found)


def probe_weights(energies: BlockEnergies) -> np.ndarray:
    """ω_b, float64 [L] > 0 with mean 1: ζ_b², the weight of 1/N_b in the bias term.

    The batch noise σ_b² is no part of it: it enters the bound through the variance, where a scalar carries the noise of
    all blocks of its client times d_b, so that ω_b would get the same addition per parameter whatever σ_b² is. A ζ_b²
    below its standard error counts as that: so much the probe cannot tell from nothing.
    """
    weight = np.maximum(energies.dissimilarity, energies.dissimilarity_error)
    if not weight.max() > 0:
        return np.ones(len(weight))
    weight = np.maximum(weight, _LEAST_SHARE * weight.max())
    return weight / weight.mean()
