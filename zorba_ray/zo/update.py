"""The one update: from broadcast scalars to θ, the same on the server, on every worker and in a replay.

algorithm.md §3 steps 4–7. Coefficients are derived in float64 with + − × ÷ in a fixed order, put on one power-of-two
grid per (commit, block), and applied by the fused `apply_commits`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zorba_ray.directions import DirectionBackend, Terms, apply_low_rank, direction_seeds
from zorba_ray.errors import Diverged
from zorba_ray.models import Manifest, TensorEntry
from zorba_ray.zo.rule import UpdateRule
from zorba_ray.zo.scalars import clipped_scalars, total

_MANTISSA = 24
_SMALLEST = -149  # exponent of the smallest positive fp32


def on_grid(coefficients: np.ndarray, rank: int = 1) -> np.ndarray:
    """float64 [k] -> float32 [k], all multiples of one δ = 2^x with Σ|m_k| < 2^24 / rank.

    So fp32 sums of ±c_k, or of c_k times integers up to `rank`, are exact. x starts at e − 24, e the frexp exponent of
    Σ|c|, and is raised until the ROUNDED integers fit (rng.md).

    Raises:
        Diverged: a coefficient is not finite, or the sum exceeds fp32.
    """
    size = total(np.abs(coefficients))
    if not math.isfinite(size) or size >= 2.0**127:
        raise Diverged(f"the update's coefficients sum to {size}: lower zo.lr or set zo.clip")
    if size == 0.0:
        return np.zeros(len(coefficients), dtype=np.float32)
    exponent = max(math.frexp(size)[1] - _MANTISSA, _SMALLEST)
    while True:
        integers = np.rint(np.ldexp(coefficients, -exponent))
        if rank * int(np.abs(integers).sum()) < 2**_MANTISSA:
            return np.ldexp(integers, exponent).astype(np.float32)
        exponent += 1


@dataclass(frozen=True)
class RoundUpdate:
    """What a commit says of one round, as arrays."""

    round: int
    lr: float
    """η."""
    clients: np.ndarray
    """int64 [n]: R_t, ascending client ids."""
    scalars: np.ndarray
    """float32 [n, K, P]: the raw ρ."""
    active: np.ndarray
    """bool [N, L]: a_{n,b} of every client of the federation."""


def block_weights(rule: UpdateRule, clients: np.ndarray, active: np.ndarray) -> np.ndarray:
    """w_{n,b} float64 [n] of the `clients` (reported and holding the block, ascending); their sum is 1 up to rounding.

    `data`: p_n / Σ p_m. `inverse_noise`: ∝ p_n / |A_n|. `active` as in `RoundUpdate`.
    """
    raw = rule.counts[clients]
    if rule.weights == "inverse_noise":
        raw = raw / active[clients].sum(axis=1)
    return raw / total(raw)


def commit_terms(rule: UpdateRule, update: RoundUpdate, seeds: np.ndarray, block: int, rank: int = 0) -> Terms:
    """Every non-zero term of `block`, in ledger order: client, step, direction.

    Where all clients share the directions and z is ±1, the coefficients of one direction are added up: they lie on one
    grid, so the sum is exact in any order, and a commit costs P · K directions however many clients there are.

    Args:
        seeds: uint64 [n, K], `round_seeds` of the update.
        rank: 0 for tensors with dense directions; r for matrices with U Vᵀ/√r: the coefficients are c/√r.
    """
    holders = np.flatnonzero(update.active[update.clients, block])
    if not len(holders):
        return Terms(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.float32), rule.distribution)
    weights = block_weights(rule, update.clients[holders], update.active)
    rho = clipped_scalars(rule, update.scalars)[holders]
    raw = ((-update.lr * weights)[:, None, None] * rho / rule.directions).reshape(-1)
    coefficients = on_grid(raw / math.sqrt(rank), rank) if rank else on_grid(raw)
    seed = np.broadcast_to(seeds[holders][:, :, None], rho.shape)
    number = np.broadcast_to(np.arange(rule.directions, dtype=np.uint64), rho.shape)
    if rule.seeds == "shared" and rule.distribution == "rademacher":
        coefficients = coefficients.reshape(len(seed), -1).astype(np.float64).sum(axis=0).astype(np.float32)
        seed, number = seed[0], number[0]
    return Terms(seed.reshape(-1), number.reshape(-1), coefficients, rule.distribution).moving()


def round_seeds(rule: UpdateRule, update: RoundUpdate) -> np.ndarray:
    """seed64 of every reported client and step, uint64 [n, K]."""
    streams = update.clients if rule.seeds == "per_client" else np.zeros_like(update.clients)
    return direction_seeds(rule.seed, update.round, streams, rule.local_steps)


def apply_rounds(
    directions: DirectionBackend,
    rule: UpdateRule,
    manifest: Manifest,
    theta: Mapping[str, torch.Tensor],
    updates: Sequence[RoundUpdate],
) -> None:
    """Commits on one replica, in one pass over memory: every block, also those that its clients never perturb.

    The bytes are those of one round after another.

    Raises:
        Diverged: a coefficient overflows; θ is untouched then.
    """
    commits = commit_table(rule, manifest.blocks, updates)
    for block in range(manifest.blocks):
        for tensor in manifest.scoped(block, rule.scope):
            rank = rank_of(rule, tensor)
            move(directions, tensor, theta[tensor.name], rank, commits[block, rank])


def commit_table(rule: UpdateRule, blocks: int, updates: Sequence[RoundUpdate]) -> dict[tuple[int, int], list[Terms]]:
    """(block, rank of the directions) -> terms of each commit in order, also of those that have none.

    Raises:
        Diverged: a coefficient overflows.
    """
    commits = [(update, round_seeds(rule, update)) for update in updates]
    return {
        (block, rank): [commit_terms(rule, update, seeds, block, rank) for update, seeds in commits]
        for block in range(blocks)
        for rank in {0, rule.rank}
    }


def rank_of(rule: UpdateRule, tensor: TensorEntry) -> int:
    """r of the tensor's directions; 0: dense, as those of vectors always are."""
    return rule.rank if len(tensor.shape) >= 2 else 0


def move(
    directions: DirectionBackend, tensor: TensorEntry, theta: torch.Tensor, rank: int, commits: Sequence[Terms]
) -> None:
    """Commits on one tensor (fp32 [numel], in place)."""
    if rank:
        apply_low_rank(directions, theta, tensor.block, tensor.slot, tensor.shape, rank, commits)
    else:
        directions.apply_commits(theta, tensor.block, tensor.slot, commits)
