"""What to perturb: forward pairs on one set of tensors of all blocks at a time, before the first round.

Along a direction z with E[z zᵀ] = 1 on a set S of d tensors' elements, ρ_n = ⟨z, g_n⟩ + noise at client n, so that over
clients that share z the products have as mean the energy of the gradient that they share, without the noise:

    E[ρ_n ρ_m] = ‖∇_S F‖²  (n ≠ m),   E[(F⁺ + F⁻ − 2F)/μ²] = E[zᵀ H z] = tr H_S.

A step −η ρ z loses η ‖g‖² to first order and costs (η²/2) E[ρ²] tr H_S to second, the random part of the step being
spread over all of S. At the best η the loss falls by ‖g‖⁴ / (2 E[ρ²] tr H_S) per pair. Where curvature per dimension is
alike, tr H_S goes with d, and what is left to compare is ‖g‖² / d, the energy per perturbed dimension.

Which share of E[ρ²] is ‖g‖² and which is noise, a few pairs cannot tell set by set (0 ± 0.2 of 2.5 for the 1-D tensors
of the built-in model). Taken as alike for all sets it drops out of the comparison: the choice goes by E[ρ²] / d, which
the same pairs give within a third. tr H_S is recorded beside it with its error (built-in model: 92 ± 16 for the 1-D
tensors, −26 ± 130 for all) and decides nothing yet: where it is far from alike per dimension, the choice can be wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.directions import SCOPE_PROBE, direction_seed
from zorba_ray.models import Batch, Manifest, Perturbation, Scope, TaskModel
from zorba_ray.zo.estimator import projected_gradient
from zorba_ray.zo.rule import UpdateRule

KINDS: tuple[Scope, ...] = ("all", "matrices", "bias_norm", "biases", "norm_weights", "attention", "feed_forward")
"""Sets that are measured."""
WITH_MATRICES: tuple[Scope, ...] = ("all", "matrices", "attention", "feed_forward")
"""Those of them that low-rank directions can take."""
CHOICES: tuple[Scope, ...] = ("all", "matrices", "bias_norm")
"""Sets that are chosen among; finer ones are shown only: on TREC/MiniLM the biases have 2.4 times the energy per
dimension of all 1-D tensors and learn no better (curvature sits where gradients do)."""


@dataclass(frozen=True)
class ScopeScore:
    """What the probe found of one set."""

    scope: Scope
    parameters: int
    """d, over all blocks."""
    energy: float
    """‖∇_S F‖², 0 where noise left less."""
    energy_error: float
    """Standard error over the directions."""
    second_moment: float
    """E[ρ²] of one client's pair: energy, noise and dissimilarity."""
    curvature: float
    """Mean of (F⁺ + F⁻ − 2F)/μ², which estimates tr H_S; rounding of fp32 losses is in it."""
    curvature_error: float
    """Its standard error over clients and directions."""

    @property
    def density(self) -> float:
        """E[ρ²] / d: energy and noise per perturbed dimension."""
        return self.second_moment / self.parameters


def present(manifest: Manifest, kinds: Sequence[Scope]) -> list[Scope]:
    """Those of `kinds` of which every block has tensors."""
    return [scope for scope in kinds if all(manifest.sizes(scope))]


def scope_scores(
    model: TaskModel,
    rule: UpdateRule,
    scale: float,
    kinds: Sequence[Scope],
    pairs: int,
    batches: Sequence[Batch],
) -> list[ScopeScore]:
    """Scores of `kinds` from `pairs` forward pairs on each batch, one batch per client, along shared directions.

    Args:
        model: with dense directions and scope `all`; θ is read only.
        batches: at least two, of different clients.
    """
    manifest = model.replica.manifest
    everything = frozenset(range(manifest.blocks))
    seed = direction_seed(rule.seed, 0, SCOPE_PROBE, 0)
    scalars = np.zeros((len(kinds), len(batches), pairs))
    bends = np.zeros_like(scalars)
    for which, batch in enumerate(batches):
        prepared = model.prepare(batch, everything)
        base, _ = model.pair(prepared, Perturbation(seed, 0, 0.0, rule.distribution))
        for place, scope in enumerate(kinds):
            for pair in range(pairs):
                plus, minus = model.pair(prepared, Perturbation(seed, pair, scale, rule.distribution, only=scope))
                scalars[place, which, pair] = projected_gradient(plus, minus, scale)
                bends[place, which, pair] = (plus + minus - 2.0 * base) / scale**2
    return [
        _score(scope, sum(manifest.sizes(scope)), own, bend)
        for scope, own, bend in zip(kinds, scalars, bends, strict=True)
    ]


def choose_scope(scores: Sequence[ScopeScore]) -> Scope:
    """The set of CHOICES with the largest E[ρ²] / d; the smallest where nothing shows."""
    return max(
        (score for score in scores if score.scope in CHOICES), key=lambda score: (score.density, -score.parameters)
    ).scope


def _score(scope: Scope, parameters: int, scalars: np.ndarray, bends: np.ndarray) -> ScopeScore:
    """`scalars`, `bends`: float64 [clients, pairs]."""
    clients, pairs = scalars.shape
    square = (scalars**2).sum(axis=0)
    shared = (scalars.sum(axis=0) ** 2 - square) / (clients * (clients - 1))
    return ScopeScore(
        scope,
        parameters,
        energy=max(0.0, float(shared.mean())),
        energy_error=float(shared.std(ddof=1) / np.sqrt(pairs)),
        second_moment=float(square.mean() / clients),
        curvature=float(bends.mean()),
        curvature_error=float(bends.std(ddof=1) / np.sqrt(bends.size)),
    )
