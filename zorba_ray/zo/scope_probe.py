"""What to perturb: forward pairs on one set of tensors of all blocks at a time, before the first round.

Along a direction z with E[z zᵀ] = 1 on a set S of tensors' elements E[zᵀ G z] = tr G_S, G being the Gauss–Newton part
of the Hessian, which the logits of a pair give (`TaskModel.gauss_newton_quadratic`): never negative and known within a
fifth after 24 pairs, where differences of losses give tr H_S = −26 ± 130.

A round's step −η mean(ρ z) over n pairs gains η ‖g_S‖² to first order and costs (η²/2n) E[ρ²] tr G_S to second. Both ρ
and zᵀ G z come from the change of the logits along z, and so E[ρ²] / tr G_S is found to be the same for every set (the
built-in model: 0.34 to 0.36, MiniLM on TREC: 0.19 to 0.25): no set is better than another at a rate of its own.

What differs between sets at one rate η is the curvature ratio η tr G_S / n. Rates known to learn well over 40 to 222
rounds have one of 0.019 to 0.033 on three models. At twice as much they turned back before the end, at less they learn
more slowly in proportion. Fewer rounds stand more: 33 on TREC learnt best at 0.06.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.directions import SCOPE_PROBE, direction_seed
from zorba_ray.models import Batch, Manifest, Perturbation, Scope, TaskModel
from zorba_ray.zo.update import UpdateRule

CHOICES: tuple[Scope, ...] = ("all", "matrices", "bias_norm")
"""Sets that are chosen among."""
WITH_MATRICES: tuple[Scope, ...] = ("all", "matrices")
"""Those of them that low-rank directions can take."""
SUITED_RATIO = 0.02
"""Curvature ratio of a rate that suits the set."""


@dataclass(frozen=True)
class ScopeScore:
    """What the probe found of one set."""

    scope: Scope
    parameters: int
    """d, over all blocks."""
    curvature: float
    """tr G_S."""

    def curvature_ratio(self, lr: float, pairs: int) -> float:
        """η tr G_S / n for rounds of n forward pairs."""
        return lr * self.curvature / pairs

    def suited(self, pairs: int) -> float | None:
        """The η whose curvature ratio is SUITED_RATIO; None where the logits do not change."""
        return SUITED_RATIO * pairs / self.curvature if self.curvature > 0 else None


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
    curvatures = np.zeros((len(kinds), len(batches), pairs))
    for which, batch in enumerate(batches):
        prepared = model.prepare(batch, everything)
        for place, scope in enumerate(kinds):
            for pair in range(pairs):
                perturbation = Perturbation(seed, pair, scale, rule.distribution, only=scope)
                curvatures[place, which, pair] = model.gauss_newton_quadratic(prepared, perturbation)[1]
    return [
        ScopeScore(scope, sum(manifest.sizes(scope)), float(own.mean()))
        for scope, own in zip(kinds, curvatures, strict=True)
    ]


def choose_scope(scores: Sequence[ScopeScore], lr: float, pairs: int) -> Scope:
    """The set that the rate suits best: its curvature ratio is the fewest times above or below
    SUITED_RATIO; of equals the larger.

    Args:
        lr: η at round 1.
        pairs: n, forward pairs along directions of their own in a round.
    """

    def away(score: ScopeScore) -> float:
        ratio = score.curvature_ratio(lr, pairs)
        return abs(math.log(ratio / SUITED_RATIO)) if ratio > 0 else math.inf

    return min(scores, key=lambda score: (away(score), -score.parameters)).scope
