"""The exact variance of a round's update. The allocation's f1 is a surrogate of it."""

from typing import Literal, get_args

import numpy as np

from zorba_ray.errors import ConfigError

Weighting = Literal["data", "inverse_noise"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


def exact_variance(
    active: np.ndarray,
    data_weight: np.ndarray,
    weighting: Weighting,
    block_sizes: np.ndarray,
    directions: int,
    energies: np.ndarray | None = None,
) -> float:
    """Variance of one round's update with per-client seeds, Σ_b (d_b/P) Σ_{n∈N_b} w_{n,b}² Σ_{c∈A_n} e_c.

    A block that no client holds does not move and adds nothing.

    Args:
        active: bool [N, L].
        data_weight: float64 [N], p_n of sum 1.
        weighting: w is ∝ p_n ("data") or ∝ p_n / |A_n| ("inverse_noise"), over the clients that hold the block.
        block_sizes: [L] d_b, parameters in scope.
        directions: P >= 1.
        energies: [L] e_c = g_c² + σ_c²; 1 for every block when not given.

    Raises:
        ConfigError: an unknown weighting, or directions < 1.

    Source: docs/algorithm.md section 5.
    """
    if weighting not in WEIGHTINGS:
        raise ConfigError(f"weighting = {weighting!r} must be 'data' or 'inverse_noise'")
    if directions < 1:
        raise ConfigError(f"directions = {directions!r} must be at least 1")
    energy = np.ones(active.shape[1]) if energies is None else np.asarray(energies, dtype=np.float64)
    noise = active @ energy  # [N] Σ_{c∈A_n} e_c: one scalar carries the noise of all blocks its client perturbs
    share = data_weight / np.maximum(active.sum(axis=1), 1) if weighting == "inverse_noise" else data_weight
    mass = np.where(active, share[:, None], 0.0)  # [N, L], not yet divided by the holders' sum
    total = mass.sum(axis=0)
    weight = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    per_block = (weight**2 * noise[:, None]).sum(axis=0)
    return float((np.asarray(block_sizes, dtype=np.float64) / directions * per_block).sum())
