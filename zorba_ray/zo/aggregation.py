"""How the scalars of several clients become those by which a block moves. Every replica computes the same bytes.

All are float64, in a fixed order of operations. With shared directions, `median`, `trimmed_mean` and `krum` compare
what clients say of the same direction; up to f of 2f + 1 (Krum: 2f + 3) reports may then be anything.

- median, trimmed mean: Yin, Chen, Ramchandran, Bartlett: Byzantine-Robust Distributed Learning, ICML 2018.
- Krum: Blanchard, El Mhamdi, Guerraoui, Stainer: Machine Learning with Adversaries, NeurIPS 2017.

With directions per client nothing can be compared but sizes: see `clipped_to_spread`.
"""

import numpy as np

from zorba_ray.config.aggregation import reports_needed


def clipped_to_spread(values: np.ndarray, spread: float, reported: np.ndarray) -> np.ndarray:
    """ρ, where |ρ| is at most `spread` times the median |ρ|. The influence of a scalar is bounded by that.

    Args:
        values: float64 [...], all of one commit, or of one local step of one client.
        reported: bool, as `values`: which of them there are.
    """
    bound = spread * median_size(values[reported])
    return np.clip(values, -bound, bound) if bound > 0 else values  # a median of 0 would shrink all to 0


def median_size(values: np.ndarray) -> float:
    """The median of |v|, v float64 [...]. Of an even number of values it is the mean of the middle two; of none it is
    0."""
    return float(_median(np.abs(values).reshape(-1, 1))[0]) if values.size else 0.0


def combined(aggregate: str, byzantine: int, values: np.ndarray) -> np.ndarray:
    """What `median`, `trimmed_mean` or `krum` makes of the reports on a block: float64 [1, ...]; [0, ...] where there
    are too few reports to withstand f hostile ones, so that the block must not move.

    Args:
        byzantine: f.
        values: float64 [n, ...], one row per client.
    """
    if len(values) < reports_needed(aggregate, byzantine):
        return values[:0]
    if aggregate == "krum":
        return values[_krum(values.reshape(len(values), -1), byzantine)][None]
    if aggregate == "median":
        return _median(values)[None]
    kept = np.sort(values, axis=0)[byzantine : len(values) - byzantine]
    return (np.cumsum(kept, axis=0)[-1] / len(kept))[None]


def _median(values: np.ndarray) -> np.ndarray:
    """The median over axis 0."""
    ordered = np.sort(values, axis=0)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0


def _krum(values: np.ndarray, byzantine: int) -> int:
    """The row with the smallest sum of squared distances to its n − f − 2 nearest rows; the first one of equals."""
    differences = values[:, None, :] - values[None, :, :]
    distances = np.cumsum(differences**2, axis=2)[:, :, -1]
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, : len(values) - byzantine - 2]
    return int(np.argmin(np.cumsum(nearest, axis=1)[:, -1]))
