"""The update of θ from the scalars of a commit: the same bytes on the server, on every worker and in a replay.

algorithm.md §3 steps 4–7. For every block b that a client of R_t activates,

    θ_b ← θ_b − η Σ_{n ∈ R_t, b ∈ A_n} w_{n,b} (1/P) Σ_{k,p} ρ_{n,k,p} z_b(n, k, p)        (`commit_terms`)

The coefficient c of a term is everything in front of its z. Coefficients are computed in float64 with + − × ÷ in a
fixed order. They are then rounded to a power-of-two grid, one grid per commit and block, so that fp32 sums of ±c are
exact. `apply_terms` adds the terms c z to θ, tensor by tensor.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import DirectionBackend, Distribution, Terms, apply_low_rank, direction_seeds
from zorba_ray.errors import Diverged
from zorba_ray.models import Scope, TensorEntry
from zorba_ray.privacy import GaussianMechanism
from zorba_ray.zo.aggregation import clipped_to_spread, combined

_MANTISSA = 24
_SMALLEST = -149  # exponent of the smallest positive fp32

LIMIT = 2.0**24
"""A commit must move every weight by less than this. fp32 has a mantissa of 24 bits: next to a number of this size, a
weight of 1 is rounded away, so the model forgets what it knew. A few layers of such weights overflow. No useful step is
that large. The limit is far below the largest fp32 number (2^128), so θ stays finite after any number of commits."""


@dataclass(frozen=True)
class UpdateRule:
    """The constants of the update. They are fixed for a run and stand in the ledger's header."""

    seed: int
    """Master seed of the directions."""
    seeds: Literal["per_client", "shared"]
    weights: Literal["data", "inverse_noise"]
    distribution: Distribution
    scope: Scope
    directions: int
    """P."""
    local_steps: int
    """K."""
    samples: tuple[int, ...]
    """|D_n| of every client, in client order."""
    rank: int = 0
    """r of U Vᵀ/√r, the directions of matrices; 0: dense directions."""
    clip_spread: float = 0.0
    """Scalars beyond this multiple of the commit's median |ρ| are shrunk to it; 0: no scalar is."""
    aggregate: str = "mean"
    """`mean` by weights w, or one of `config.aggregation.COMPARING`: then all clients share the directions."""
    byzantine: int = 0
    """f of those that compare."""
    groups: int = 0
    """G: groups of examples in a full batch, each with a direction and a scalar of its own; 0: the batch has one."""
    noise: GaussianMechanism | None = None
    """How clients make their scalars private before they report them; None: they report them as they are."""

    @property
    def scalars(self) -> int:
        """Scalars of a step with a full batch: P, or P · G, pair by pair."""
        return self.directions * max(1, self.groups)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """`samples` as float64 [N]."""
        return np.array(self.samples, dtype=np.float64)

    def stream_of(self, client: int) -> int:
        """The `stream` of a client's directions: its id, or 0 when all share one."""
        return client if self.seeds == "per_client" else 0


@dataclass(frozen=True)
class RoundUpdate:
    """The content of a round's commit, as arrays."""

    round: int
    lr: float
    """η."""
    clients: np.ndarray
    """int64 [n]: R_t, ascending client ids."""
    scalars: np.ndarray
    """float32 [n, K, P], or [n, K, P · G]: the raw ρ. Groups that a batch lacks have NaN."""
    active: ActiveSets
    """A_n of every client of the federation."""
    refused: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """int64 [k]: clients whose reports were refused; only where `UpdateRule.byzantine` counts."""


def commit_terms(rule: UpdateRule, update: RoundUpdate, seeds: np.ndarray, block: int, rank: int = 0) -> Terms:
    """Every non-zero term of `block` by the formula above, in ledger order: client, step, direction.

    Where groups of examples have directions of their own, direction p · G + g is that of group g in pair p. The sum of
    a step is then divided by P · G_n, with G_n the groups of the client's batch.

    With `median`, `trimmed_mean` or `krum`, the holders' scalars become one row first, and a block with too few reports
    has no terms.

    If all clients share the directions and z is ±1, the coefficients of one direction are added up first. The sum is
    exact in any order, because they are on one grid. Then a commit costs P · K directions for any number of clients.

    Args:
        seeds: uint64 [n, K], `round_seeds` of the update.
        rank: 0 for tensors with dense directions. r for matrices with directions U Vᵀ/√r: then the coefficients are
            c/√r.

    Raises:
        Diverged: a coefficient overflows.
    """
    holders = np.flatnonzero(update.active.matrix[update.clients, block])
    rho = clipped_scalars(rule, update.scalars)[holders]
    if rule.aggregate == "mean":
        weights = block_weights(rule, update.clients[holders], update.active)
    else:  # one report, which stands for all
        known = int(update.active.matrix[update.refused, block].sum())
        rho = combined(rule.aggregate, max(0, rule.byzantine - known), rho)
        holders, weights = holders[: len(rho)], np.ones(len(rho))
    there = _reported(rule, rho)
    steps = (-update.lr * weights)[:, None, None] * rho / there.sum(axis=2, keepdims=True)
    raw = np.where(there, steps, 0.0).reshape(-1)
    coefficients = on_grid(raw / math.sqrt(rank), rank) if rank else on_grid(raw)
    seed = np.broadcast_to(seeds[holders][:, :, None], rho.shape)
    number = np.broadcast_to(np.arange(rule.scalars, dtype=np.uint64), rho.shape)
    if rule.seeds == "shared" and rule.distribution == "rademacher" and len(holders):
        coefficients = coefficients.reshape(len(seed), -1).astype(np.float64).sum(axis=0).astype(np.float32)
        seed, number = seed[0], number[0]
    return Terms(seed.reshape(-1), number.reshape(-1), coefficients, rule.distribution).moving()


def block_weights(rule: UpdateRule, clients: np.ndarray, active: ActiveSets) -> np.ndarray:
    """w_{n,b} of `clients`, float64 [n]; the sum is 1 up to rounding.

    rule.weights = data: w ∝ p_n. rule.weights = inverse_noise: w ∝ p_n / |A_n|.

    Args:
        clients: those that reported and activate the block, ascending.
    """
    raw = rule.counts[clients]
    if rule.weights == "inverse_noise":
        raw = raw / active.counts[clients]
    return raw / _total(raw)


def clipped_scalars(rule: UpdateRule, scalars: np.ndarray) -> np.ndarray:
    """ρ as float64 [...], where |ρ| is at most `clip_spread` times the median |ρ|.

    The ledger keeps the raw scalars; every replica derives this from them (`zo.aggregation`).
    """
    values = scalars.astype(np.float64)
    return clipped_to_spread(values, rule.clip_spread, _reported(rule, values)) if rule.clip_spread else values


def _reported(rule: UpdateRule, scalars: np.ndarray) -> np.ndarray:
    """bool, as `scalars`: those of groups that their batch has."""
    return ~np.isnan(scalars) if rule.groups else np.ones(scalars.shape, dtype=bool)


def on_grid(coefficients: np.ndarray, rank: int = 1) -> np.ndarray:
    """float64 [k] -> float32 [k]: coefficients c_k rounded to multiples m_k δ of one δ = 2^x; Σ|m_k| < 2^24 / rank.

    So fp32 sums of ±c_k, or of c_k times integers up to `rank`, are exact. x starts at e − 24, where e is the frexp
    exponent of Σ|c|. It is raised until the sum of the ROUNDED integers fits (rng.md).

    Raises:
        Diverged: a coefficient is not finite, or the sum exceeds fp32.
    """
    size = _total(np.abs(coefficients))
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


def _total(values: np.ndarray) -> float:
    """Sum of float64 [k], left to right. The order of np.sum depends on numpy's version and the machine."""
    with np.errstate(over="ignore"):
        return float(np.cumsum(values)[-1]) if len(values) else 0.0


def round_seeds(rule: UpdateRule, update: RoundUpdate) -> np.ndarray:
    """The `direction_seed` of every reported client and step, uint64 [n, K]."""
    streams = update.clients if rule.seeds == "per_client" else np.zeros_like(update.clients)
    return direction_seeds(rule.seed, update.round, streams, rule.local_steps)


def apply_terms(
    directions: DirectionBackend,
    rule: UpdateRule,
    tensor: TensorEntry,
    theta: torch.Tensor,
    commits: Mapping[int, Sequence[Terms]],
) -> None:
    """Adds commits to one tensor (fp32 [numel], in place). The directions are U Vᵀ/√r for a matrix in a run with
    `zo.rank`, else dense.

    Args:
        commits: rank of the directions -> terms of each commit on the tensor's block.
    """
    if rule.rank and len(tensor.shape) >= 2:
        terms = commits[rule.rank]
        apply_low_rank(directions, theta, tensor.block, tensor.slot, tensor.shape, rule.rank, terms)
    else:
        directions.apply_commits(theta, tensor.block, tensor.slot, commits[0])


def reach(update: RoundUpdate, rule: UpdateRule) -> float:
    """Upper bound of how far a commit moves any weight: η max_n Σ_{k,p} |ρ_{n,k,p}| / P (P · G_n as in
    `commit_terms`).

    Entries of z have a size of about 1, so a weight moves by at most Σ|c| of its block. The weights w of a block's
    clients add up to 1, so no mix of reports moves further than the largest of them alone. If a commit is beyond the
    limit, at least one of its reports is beyond it, too.
    """
    sizes = np.abs(clipped_scalars(rule, update.scalars))
    there = _reported(rule, sizes)
    steps = np.where(there, sizes, 0.0).sum(axis=2) / there.sum(axis=2)
    return abs(update.lr) * float(steps.sum(axis=1).max(initial=0.0))


def require_within_reach(distance: float, what: str) -> None:
    """Checks that every weight moves by less than LIMIT.

    Args:
        distance: upper bound of |Δθ|; NaN and infinity are refused.
        what: subject of the error message, as in "round 3: its scalars".

    Raises:
        Diverged: a weight may move by LIMIT or more.
    """
    if not (math.isfinite(distance) and distance < LIMIT):
        raise Diverged(
            f"{what} would move weights by up to {distance:.4g}, and the limit is {LIMIT:.0f}, next to which fp32 "
            "rounds a weight of 1 away: lower the learning rate or set zo.clip"
        )
