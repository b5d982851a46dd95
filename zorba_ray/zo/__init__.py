"""The zeroth-order step: projected gradients at the clients, one update for all replicas."""

from zorba_ray.zo.estimator import Estimate, estimate, projected_gradient
from zorba_ray.zo.rule import UpdateRule
from zorba_ray.zo.schedule import learning_rate
from zorba_ray.zo.update import apply_round, block_weights, commit_entries, on_grid

__all__ = [
    "Estimate",
    "UpdateRule",
    "apply_round",
    "block_weights",
    "commit_entries",
    "estimate",
    "learning_rate",
    "on_grid",
    "projected_gradient",
]
