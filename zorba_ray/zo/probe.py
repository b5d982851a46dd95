"""The block probe (algorithm.md §5): it estimates the gradient energy, dissimilarity and noise of every block.

Each client makes forward pairs on one block at a time, on two independent batches, along directions that all clients
share. Along a direction z with E[z zᵀ] = 1 a scalar is ρ = ⟨z, g_n + ξ⟩: g_n = ∇_b F_n, ξ is the noise of the batch.
So the mean of a product of two scalars along one z is an inner product of gradients. A and B are the two batches; their
noises are independent:

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
"""Every ω_b is at least this share of the largest ω: the allocation must not give up any block."""


@dataclass(frozen=True)
class BlockEnergies:
    """Estimates of a probe for each block, float64 [L]. Noise can make an estimate negative; it is then set to 0."""

    energy: np.ndarray
    """g_b² = ‖Σ_n p_n ∇_b F_n‖²."""
    dissimilarity: np.ndarray
    """ζ_b² = Σ_n p_n ‖∇_b F_n − Σ_m p_m ∇_b F_m‖² / (1 − Σ_n p_n²). With equal p_n this is the sample variance, and a
    random set of N_b of N clients has the squared bias ζ_b² (1/N_b − 1/N)."""
    noise: np.ndarray
    """σ_b² = Σ_n p_n E‖ξ_n‖², for one batch of the run's size."""
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
    """ρ of pairs that perturb one block only: float32 [batches, blocks, pairs]. z is the same for every client and
    batch. θ is only read."""
    seed = direction_seed(rule.seed, round, PROBE, 0)
    scalars = np.zeros((len(batches), len(blocks), pairs), dtype=np.float32)
    for number, batch in enumerate(batches):
        for row, block in enumerate(blocks):
            prepared = model.prepare(batch, frozenset({block}))
            for pair in range(pairs):
                plus, minus = model.pair(prepared, Perturbation(seed, pair, scale, rule.distribution))
                scalars[number, row, pair] = projected_gradient(plus, minus, scale)
    return scalars


def block_energies(scalars: np.ndarray, data_weight: np.ndarray) -> BlockEnergies:
    """Estimates from the scalars of n clients; each is a mean over the directions.

    Args:
        scalars: float [n, 2, L, pairs] with at least two pairs; NaN for the blocks that a client did not probe.
        data_weight: float64 [n], p_n up to a factor.
    """
    blocks, pairs = scalars.shape[2:]
    estimates = np.zeros((4, blocks))
    for block in range(blocks):
        probed = np.isfinite(scalars[:, :, block]).all(axis=(1, 2))
        if not probed.any():
            continue
        first, second = scalars[probed, :, block].astype(np.float64).transpose(1, 0, 2)  # [n, pairs] each
        share = (data_weight[probed] / data_weight[probed].sum())[:, None]
        half_gap = (first - second) ** 2 / 4.0
        together = (share * (first + second) / 2.0).sum(axis=0) ** 2  # all inner products, ‖g_n‖² with noise
        energy = together - (share**2 * half_gap).sum(axis=0)
        squares = (share * first * second).sum(axis=0)
        unbias = 1.0 - float((share**2).sum())
        spread = (squares - energy) / unbias if probed.sum() > 1 else np.zeros(pairs)
        noise = 2.0 * (share * half_gap).sum(axis=0)
        estimates[:, block] = (
            max(0.0, energy.mean()), max(0.0, spread.mean()), noise.mean(), spread.std(ddof=1) / np.sqrt(pairs)
        )  # fmt: skip
    return BlockEnergies(*estimates)


def probe_weights(energies: BlockEnergies) -> np.ndarray:
    """ω_b, float64 [L] > 0 with mean 1: ζ_b², which is the weight of 1/N_b in the bias term.

    The batch noise σ_b² is not part of ω_b. It enters the bound through the variance, where a scalar carries the noise
    of all blocks of its client times d_b. So it would add the same amount per parameter to every ω_b. A ζ_b² below its
    standard error is raised to it: the probe cannot tell such a value from zero.
    """
    weight = np.maximum(energies.dissimilarity, energies.dissimilarity_error)
    if not weight.max() > 0:
        return np.ones(len(weight))
    weight = np.maximum(weight, _LEAST_SHARE * weight.max())
    return weight / weight.mean()
