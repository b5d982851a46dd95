"""How far a commit can move a weight, and how far is too far: judged before the commit is written.

A term moves a weight by its coefficient times an entry of z, of size about 1, so the coefficients of a block bound what
the commit does to each of its weights. From LIMIT = 2^24 on fp32, whose mantissa has 24 bits, holds no 1 beside such a
weight: whatever the model knew there is rounded away, and a few layers of such weights overflow. No step along a
gradient is meant to do that. It lies far below fp32's largest number (2^128), so θ stays finite under any number of
commits within it.
"""

import math

import numpy as np

from zorba_ray.errors import Diverged
from zorba_ray.zo.update import RoundUpdate, UpdateRule, clipped_scalars

LIMIT = 2.0**24


def reach(update: RoundUpdate, rule: UpdateRule) -> float:
    """Bound of Σ|c| over every block: η max_n Σ_{k,p} |ρ_{n,k,p}| / P.

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
