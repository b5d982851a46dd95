"""The zeroth-order step: projected gradients at the clients, one update for all replicas."""

from zorba_ray.zo.estimator import (
    Estimate,
    Share,
    StepSizes,
    estimate,
    local_steps,
    projected_gradient,
    step_scalars,
    walk,
)
from zorba_ray.zo.pending import PendingCommits
from zorba_ray.zo.probe import BlockEnergies, block_energies, probe_scalars, probe_weights
from zorba_ray.zo.reach import LIMIT, reach, require_within_reach
from zorba_ray.zo.rule import UpdateRule
from zorba_ray.zo.schedule import scheduled
from zorba_ray.zo.update import RoundUpdate, apply_rounds, block_weights, commit_terms, on_grid, round_seeds

__all__ = [
    "LIMIT",
    "BlockEnergies",
    "Estimate",
    "PendingCommits",
    "RoundUpdate",
    "Share",
    "StepSizes",
    "UpdateRule",
    "apply_rounds",
    "block_energies",
    "block_weights",
    "commit_terms",
    "estimate",
    "local_steps",
    "on_grid",
    "probe_scalars",
    "probe_weights",
    "projected_gradient",
    "reach",
    "require_within_reach",
    "round_seeds",
    "scheduled",
    "step_scalars",
    "walk",
]
