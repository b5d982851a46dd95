"""The one update: from the scalars of a commit to θ, the same on the server, on every worker and in a replay.

algorithm.md §3 steps 4–7. For every block b that a client of R_t holds,

    θ_b ← θ_b − η Σ_{n ∈ R_t, b ∈ A_n} w_{n,b} (1/P) Σ_{k,p} ρ_{n,k,p} z_b(n, k, p)        (`commit_terms`)

Coefficients are derived in float64 with + − × ÷ in a fixed order and put on one power-of-two grid per commit and block,
so that fp32 sums of ±c are exact. They become `Terms`, which are added to θ tensor by tensor (`apply_terms`).
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import DirectionBackend, Distribution, Terms, apply_low_rank, direction_seeds
from zorba_ray.errors import Diverged
from zorba_ray.models import Manifest, Scope, TensorEntry

_MANTISSA = 24
_SMALLEST = -149  # exponent of the smallest positive fp32

LIMIT = 2.0**24
"""How far a commit may move a weight. Beside a weight of this size fp32, whose mantissa has 24 bits, holds no 1:
whatever the model knew there is rounded away, and a few layers of such weights overflow. No step along a gradient is
meant to do that. It lies far below fp32's largest number (2^128), so θ stays finite under any number of commits."""


@dataclass(frozen=True)
class UpdateRule:
    """What every replica knows, beside the commits, to derive the update: fixed for a run, in the ledger's header."""

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
    """r of U Vᵀ/√r, the directions of matrices; 0: dense."""
    clip_spread: float = 0.0
    """Scalars beyond this multiple of the commit's median |ρ| are shrunk to it; 0: none are."""

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """`samples` as float64 [N]."""
        return np.array(self.samples, dtype=np.float64)

    def stream_of(self, client: int) -> int:
        """The `stream` of a client's directions: its id, or 0 when all share one."""
        return client if self.seeds == "per_client" else 0


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
    active: ActiveSets
    """A_n of every client of the federation."""


def commit_terms(rule: UpdateRule, update: RoundUpdate, seeds: np.ndarray, block: int, rank: int = 0) -> Terms:
    """Every non-zero term of `block`, in ledger order: client, step, direction; the formula above.

    Where all clients share the directions and z is ±1, the coefficients of one direction are added up: they lie on one
    grid, so the sum is exact in any order, and a commit costs P · K directions however many clients there are.

    Args:
        seeds: uint64 [n, K], `round_seeds` of the update.
        rank: 0 for tensors with dense directions; r for matrices with U Vᵀ/√r: the coefficients are c/√r.

    Raises:
        Diverged: a coefficient overflows.
    """
    holders = np.flatnonzero(update.active.matrix[update.clients, block])
    weights = block_weights(rule, update.clients[holders], update.active)
    rho = clipped_scalars(rule, update.scalars)[holders]
    raw = ((-update.lr * weights)[:, None, None] * rho / rule.directions).reshape(-1)
    coefficients = on_grid(raw / math.sqrt(rank), rank) if rank else on_grid(raw)
    seed = np.broadcast_to(seeds[holders][:, :, None], rho.shape)
    number = np.broadcast_to(np.arange(rule.directions, dtype=np.uint64), rho.shape)
    if rule.seeds == "shared" and rule.distribution == "rademacher" and len(holders):
        coefficients = coefficients.reshape(len(seed), -1).astype(np.float64).sum(axis=0).astype(np.float32)
        seed, number = seed[0], number[0]
    return Terms(seed.reshape(-1), number.reshape(-1), coefficients, rule.distribution).moving()


def block_weights(rule: UpdateRule, clients: np.ndarray, active: ActiveSets) -> np.ndarray:
    """w_{n,b} float64 [n] of the `clients` (reported and holding the block, ascending); their sum is 1 up to rounding.

    `data`: p_n / Σ p_m. `inverse_noise`: ∝ p_n / |A_n|.
    """
    raw = rule.counts[clients]
    if rule.weights == "inverse_noise":
        raw = raw / active.counts[clients]
    return raw / _total(raw)


def clipped_scalars(rule: UpdateRule, scalars: np.ndarray) -> np.ndarray:
    """float32 [...] -> float64 [...]: ρ, those beyond `clip_spread` times the median |ρ| shrunk to it.

    One set of scalars at a time: all of a commit, or those of one local step of one client. Every replica derives this
    from the raw scalars in the ledger, so that nothing more has to travel.
    """
    values = scalars.astype(np.float64)
    bound = rule.clip_spread * median_size(values) if rule.clip_spread else 0.0
    return np.clip(values, -bound, bound) if bound > 0 else values  # a median of 0 says nothing


def median_size(values: np.ndarray) -> float:
    """Median of |v| of float64 [...]: of an even number the mean of the middle two; 0 of nothing."""
    ordered = np.sort(np.abs(values), axis=None)
    if not ordered.size:
        return 0.0
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2.0


def on_grid(coefficients: np.ndarray, rank: int = 1) -> np.ndarray:
    """float64 [k] -> float32 [k], all multiples of one δ = 2^x with Σ|m_k| < 2^24 / rank.

    So fp32 sums of ±c_k, or of c_k times integers up to `rank`, are exact. x starts at e − 24, e the frexp exponent of
    Σ|c|, and is raised until the ROUNDED integers fit (rng.md).

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
    """Sum of float64 [k], left to right: numpy's own adds in an order that depends on its version and the machine."""
    with np.errstate(over="ignore"):
        return float(np.cumsum(values)[-1]) if len(values) else 0.0


def round_seeds(rule: UpdateRule, update: RoundUpdate) -> np.ndarray:
    """seed64 of every reported client and step, uint64 [n, K]."""
    streams = update.clients if rule.seeds == "per_client" else np.zeros_like(update.clients)
    return direction_seeds(rule.seed, update.round, streams, rule.local_steps)


def apply_terms(
    directions: DirectionBackend,
    rule: UpdateRule,
    tensor: TensorEntry,
    theta: torch.Tensor,
    commits: Mapping[int, Sequence[Terms]],
) -> None:
    """Commits on one tensor (fp32 [numel], in place), along the directions that it has: U Vᵀ/√r if it is a matrix and
    the run's are low-rank, else dense.

    Args:
        commits: rank of the directions -> terms of each commit on the tensor's block.
    """
    if rule.rank and len(tensor.shape) >= 2:
        terms = commits[rule.rank]
        apply_low_rank(directions, theta, tensor.block, tensor.slot, tensor.shape, rule.rank, terms)
    else:
        directions.apply_commits(theta, tensor.block, tensor.slot, commits[0])


def reach(update: RoundUpdate, rule: UpdateRule) -> float:
    """Bound of how far a commit moves any weight, as entries of z are of size about 1: of Σ|c| over every block,
    η max_n Σ_{k,p} |ρ_{n,k,p}| / P.

    The weights of a block's holders add up to 1, so no mix of reports reaches further than the one of them that reaches
    furthest alone: where a commit is beyond the limit, at least one report is so by itself.
    """
    sizes = np.abs(clipped_scalars(rule, update.scalars))
    furthest = float(sizes.reshape(len(sizes), -1).sum(axis=1).max(initial=0.0))
    return abs(update.lr) * furthest / rule.directions


def require_within_reach(distance: float, what: str) -> None:
    """Whether a weight moves by less than LIMIT.

    Args:
        distance: bound of |Δθ|; NaN and infinity are beyond.
        what: of whom it is said, as in "round 3: its scalars".

    Raises:
        Diverged: it may move as far, or further.
    """
    if not (math.isfinite(distance) and distance < LIMIT):
        raise Diverged(
            f"{what} would move weights by up to {distance:.4g}, and fp32 holds no 1 beside {LIMIT:.0f}: lower the "
            "learning rate or set zo.clip"
        )


class PendingCommits:
    """`models.Commits` of one run: commits that blocks still lack, each applied when a block is read, several rounds in
    one pass over its memory. Any grouping into passes gives the bytes of one commit after another."""

    def __init__(
        self, rule: UpdateRule, manifest: Manifest, on_host: DirectionBackend, on_device: DirectionBackend
    ) -> None:
        """`on_host` draws for tensors on the CPU, `on_device` for others."""
        self.position = 0
        self.oldest = 0
        self.scalars = 0
        """Scalars of the commits that are kept."""
        self._rule, self._manifest = rule, manifest
        self._on_host, self._on_device = on_host, on_device
        self._table: dict[tuple[int, int], list[Terms]] = {}
        """(block, rank of the directions) -> terms of each commit in order, also of those that have none."""

    def add(self, updates: Sequence[RoundUpdate]) -> None:
        """The next commits.

        Raises:
            Diverged: a coefficient overflows; none of `updates` is taken then.
        """
        commits = [(update, round_seeds(self._rule, update)) for update in updates]
        table = {
            (block, rank): [commit_terms(self._rule, update, seeds, block, rank) for update, seeds in commits]
            for block in range(self._manifest.blocks)
            for rank in {0, self._rule.rank}
        }
        for key, terms in table.items():
            self._table.setdefault(key, []).extend(terms)
        self.position += len(updates)
        self.scalars += sum(update.scalars.size for update in updates)

    def sync(self, block: int, theta: Mapping[str, torch.Tensor], position: int) -> None:
        """Applies the commits since `position` to a block's tensors in scope (name -> fp32 [numel]), in place."""
        assert position >= self.oldest, "commits that were forgotten"
        table = {rank: self._table[block, rank][position - self.oldest :] for rank in {0, self._rule.rank}}
        for tensor in self._manifest.scoped(block, self._rule.scope):
            flat = theta[tensor.name]
            directions = self._on_host if flat.device.type == "cpu" else self._on_device
            apply_terms(directions, self._rule, tensor, flat, table)

    def forget(self) -> None:
        """Lets go of all commits: the host's blocks have them."""
        self._table.clear()
        self.oldest, self.scalars = self.position, 0

    def jump(self) -> None:
        """θ was written from elsewhere: a position that nothing held before it can be brought to."""
        self.position += 1
        self.forget()


def apply_rounds(
    directions: DirectionBackend,
    rule: UpdateRule,
    manifest: Manifest,
    theta: Mapping[str, torch.Tensor],
    updates: Sequence[RoundUpdate],
) -> None:
    """Commits on one replica at once: every block, also those that its clients never perturb.

    Raises:
        Diverged: a coefficient overflows; θ is untouched then.
    """
    pending = PendingCommits(rule, manifest, directions, directions)
    pending.add(updates)
    for block in range(manifest.blocks):
        pending.sync(block, theta, 0)
