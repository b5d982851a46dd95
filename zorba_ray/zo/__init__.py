"""The zeroth-order step: clients estimate projected gradients, and every replica derives the same update from them."""

from zorba_ray.zo.estimator import Estimator, Overlay, projected_gradient
from zorba_ray.zo.probe import BlockEnergies, block_energies, probe_scalars, probe_weights
from zorba_ray.zo.schedule import scheduled
from zorba_ray.zo.step_length import FAR, require_short, step_length
from zorba_ray.zo.update import (
    LIMIT,
    PendingCommits,
    RoundUpdate,
    UpdateRule,
    apply_rounds,
    block_weights,
    clipped_scalars,
    commit_terms,
    on_grid,
    reach,
    require_within_reach,
    round_seeds,
)

__all__ = [
    "FAR",
    "LIMIT",
    "BlockEnergies",
    "Estimator",
    "Overlay",
    "PendingCommits",
    "RoundUpdate",
    "UpdateRule",
    "apply_rounds",
    "block_energies",
    "block_weights",
    "clipped_scalars",
    "commit_terms",
    "on_grid",
    "probe_scalars",
    "probe_weights",
    "projected_gradient",
    "reach",
    "require_short",
    "require_within_reach",
    "round_seeds",
    "scheduled",
    "step_length",
]
