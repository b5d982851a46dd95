"""How far a commit moves θ as a whole, known before it is applied."""

import math

import numpy as np

from zorba_ray.errors import Diverged
from zorba_ray.models import Manifest
from zorba_ray.zo.update import RoundUpdate, UpdateRule, commit_terms, round_seeds

FAR = 10.0
"""Times the length of the whole model: no update that has moved θ so far has left anything of the model."""


def step_length(update: RoundUpdate, rule: UpdateRule, manifest: Manifest) -> float:
    """‖Δθ‖ of a commit, on the mean over directions: ‖Δθ_b‖² = d_b Σ c².

    Directions of a block of d weights are orthogonal up to 1/√d, and the entries of z have the size 1 on the mean. In a
    tensor with low-rank directions the coefficients are c/√r, and ‖U Vᵀ‖² = r d.

    Raises:
        Diverged: a coefficient overflows.
    """
    seeds, square = round_seeds(rule, update), 0.0
    for block in range(manifest.blocks):
        for rank in {0, rule.rank}:
            entries = manifest.scoped(block, rule.scope)
            size = sum(entry.numel for entry in entries if bool(rank) == (bool(rule.rank) and len(entry.shape) >= 2))
            if size:
                coefficients = commit_terms(rule, update, seeds, block, rank).coefficients.astype(np.float64)
                square += size * max(1, rank) * float((coefficients**2).sum())
    return math.sqrt(square)


def require_short(length: float, model: float, what: str) -> None:
    """Checks that a round leaves something of the model.

    Args:
        length: ‖Δθ‖.
        model: ‖θ0‖ of the whole model, or infinity.
        what: subject of the error message, as in "round 3".

    Raises:
        Diverged: it moves θ further than FAR times that; NaN is refused too.
    """
    if not length <= FAR * model:
        raise Diverged(
            f"{what} would move the weights by {length:.3g} in all, and the whole model has the length {model:.3g}: "
            "nothing of it would be left; lower the learning rate or set zo.clip"
        )
