"""What to perturb: the curvature that forward pairs on one set of tensors at a time show, before the first round.

Along a direction z with E[z zᵀ] = 1 on a set S of tensors' elements, E[zᵀ G z] = tr G_S, G being the Gauss–Newton part
of the Hessian, which the logits of a forward pair give (`TaskModel.gauss_newton_quadratic`): never negative and known
within a fifth after 24 pairs, where differences of losses give tr H_S = −26 ± 130.

A round's step −η mean(ρ z) over n pairs gains η ‖g_S‖² to first order and costs (η²/2n) E[ρ²] tr G_S to second. Both ρ
and zᵀ G z come from the change of the logits along z, and so E[ρ²] / tr G_S is found to be the same for every set (the
built-in model: 0.34 to 0.36, MiniLM on TREC: 0.19 to 0.25): no set is better than another at a rate of its own.

What differs between sets at one rate η is the curvature ratio η tr G_S / n. Rates known to learn well over 40 to 222
rounds have one of 0.019 to 0.033 on three models. At twice as much they turned back before the end, at less they learn
more slowly in proportion. Fewer rounds stand more: 33 on TREC learnt best at 0.06.
"""

import math
from collections.abc import Mapping, Sequence

from zorba_ray.directions import SCOPE_PROBE, direction_seed
from zorba_ray.models import Batch, Manifest, Perturbation, Scope, TaskModel
from zorba_ray.zo.update import UpdateRule

CHOICES: tuple[Scope, ...] = ("all", "matrices", "bias_norm")
"""Sets that are chosen among, the largest first."""
SUITED_RATIO = 0.02
"""Curvature ratio of a rate that suits the set."""


def present(manifest: Manifest, kinds: Sequence[Scope]) -> list[Scope]:
    """Those of `kinds` of which every block has tensors."""
    return [scope for scope in kinds if all(manifest.sizes(scope))]


def scope_curvatures(
    model: TaskModel, rule: UpdateRule, scale: float, kinds: Sequence[Scope], pairs: int, batches: Sequence[Batch]
) -> dict[Scope, float]:
    """tr G_S of each of `kinds`, the mean of `pairs` forward pairs on each batch along shared directions.

    Args:
        model: with dense directions and scope `all`; θ is read only.
        scale: μ.
    """
    everything = frozenset(range(model.replica.manifest.blocks))
    seed = direction_seed(rule.seed, 0, SCOPE_PROBE, 0)
    total = dict.fromkeys(kinds, 0.0)
    for batch in batches:
        prepared = model.prepare(batch, everything)
        for scope in kinds:
            for pair in range(pairs):
                perturbation = Perturbation(seed, pair, scale, rule.distribution, only=scope)
                total[scope] += model.gauss_newton_quadratic(prepared, perturbation)[1]
    return {scope: value / (pairs * len(batches)) for scope, value in total.items()}


def curvature_ratio(curvature: float, lr: float, pairs: int) -> float:
    """η tr G_S / n for rounds of n forward pairs along directions of their own."""
    return lr * curvature / pairs


def suited_rate(curvature: float, pairs: int) -> float | None:
    """The η whose curvature ratio is SUITED_RATIO; None where the logits do not change."""
    return SUITED_RATIO * pairs / curvature if curvature > 0 else None


def choose_scope(curvatures: Mapping[Scope, float], lr: float, pairs: int) -> Scope:
    """The set whose curvature ratio is the fewest times above or below SUITED_RATIO; of equals the first.

    Args:
        curvatures: set -> tr G_S, larger sets first.
        lr: η at round 1.
        pairs: n, as of `curvature_ratio`.
    """

    def away(scope: Scope) -> float:
        ratio = curvature_ratio(curvatures[scope], lr, pairs)
        return abs(math.log(ratio / SUITED_RATIO)) if ratio > 0 else math.inf

    return min(curvatures, key=away)
