"""Chooses which tensors to perturb (`zo.scope: auto`), by the curvature along each set of tensors before round 1.

Let z be a direction with E[z zᵀ] = 1 on the elements of a set S of tensors, and G the Gauss–Newton part of the Hessian.
Then E[zᵀ G z] = tr G_S. The logits of a forward pair give zᵀ G z (`TaskModel.gauss_newton_quadratic`). It is never
negative, and its mean is known within a fifth after 24 pairs. Differences of losses are too noisy for this: they gave
tr H_S = −26 ± 130.

A round's step −η mean(ρ z) over n pairs gains η ‖g_S‖² to first order and costs (η²/2n) E[ρ²] tr G_S to second order.
Both ρ and zᵀ G z come from the change of the logits along z. Measured, E[ρ²] / tr G_S is the same for every set (the
built-in model: 0.34 to 0.36, MiniLM on TREC: 0.19 to 0.25). So with its own best rate no set is better than another.

At one rate η, the sets differ in the curvature ratio η tr G_S / n. Rates that learn well over 40 to 222 rounds have a
ratio of 0.019 to 0.033 on three models. At twice the ratio the loss rose again before the end; at a lower one learning
is slower in proportion. Short runs allow more: 33 rounds on TREC learnt best at 0.06.
"""

import math
from collections.abc import Mapping, Sequence

from zorba_ray.directions import SCOPE_PROBE, direction_seed
from zorba_ray.models import Batch, Manifest, Perturbation, Scope, TaskModel
from zorba_ray.zo.update import UpdateRule

CHOICES: tuple[Scope, ...] = ("all", "matrices", "bias_norm")
"""The sets to choose from, the largest first."""
SUITED_RATIO = 0.02
"""Curvature ratio at which a set learns well."""


def present(manifest: Manifest, kinds: Sequence[Scope]) -> list[Scope]:
    """Those of `kinds` that have tensors in every block."""
    return [scope for scope in kinds if all(manifest.sizes(scope))]


def scope_curvatures(
    model: TaskModel, rule: UpdateRule, scale: float, kinds: Sequence[Scope], pairs: int, batches: Sequence[Batch]
) -> dict[Scope, float]:
    """tr G_S of each of `kinds`: the mean over `pairs` forward pairs on each batch. All sets share the directions.

    Args:
        model: with dense directions and scope `all`; θ is only read.
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
    """η tr G_S / n, for rounds of n forward pairs along different directions."""
    return lr * curvature / pairs


def suited_rate(curvature: float, pairs: int) -> float | None:
    """The η whose curvature ratio is SUITED_RATIO; None where the logits do not change."""
    return SUITED_RATIO * pairs / curvature if curvature > 0 else None


def choose_scope(curvatures: Mapping[Scope, float], lr: float, pairs: int) -> Scope:
    """The set whose curvature ratio is nearest to SUITED_RATIO on a logarithmic scale; of equal ones the first.

    Args:
        curvatures: set -> tr G_S, larger sets first.
        lr: η at round 1.
        pairs: n, as in `curvature_ratio`.
    """

    def distance(scope: Scope) -> float:
        ratio = curvature_ratio(curvatures[scope], lr, pairs)
        return abs(math.log(ratio / SUITED_RATIO)) if ratio > 0 else math.inf

    return min(curvatures, key=distance)
