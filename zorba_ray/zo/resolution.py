"""Checks whether μ is large enough to change weights: a step below half the distance between two floats is rounded
away."""

from dataclasses import dataclass

import torch

from zorba_ray.models import Scope
from zorba_ray.models.replica import Replica

SAMPLED_WEIGHTS = 1 << 20
"""Number of weights that are checked, evenly spread over those in scope."""


@dataclass(frozen=True)
class Resolution:
    """How many weights a perturbation scale changes."""

    looked_at: int
    """Weights of the sample that are not zero (any step changes a zero)."""
    unmoved: int
    """Those of them for which both θ + μ and θ − μ round to θ."""
    enough: float
    """The μ that would change 99 % of them."""

    @property
    def share(self) -> float:
        """unmoved / looked_at; 0 where no weight was checked."""
        return self.unmoved / self.looked_at if self.looked_at else 0.0


def resolution(replica: Replica, scope: Scope, scale: float, compute: torch.dtype) -> Resolution:
    """How many of the weights in scope are the same after θ ± μ, on a sample.

    Args:
        scale: μ.
        compute: dtype of perturbed matrices; vectors are fp32.
    """
    entries = replica.manifest.moved(scope)
    step = max(1, sum(entry.numel for entry in entries) // SAMPLED_WEIGHTS)
    unmoved, halves = 0, []
    for entry in entries:
        theta = replica.parameters[entry.name][::step].float().cpu()
        theta = theta[theta != 0]
        dtype = compute if len(entry.shape) > 1 else torch.float32
        rounded = theta.to(dtype)
        unmoved += int((((theta + scale).to(dtype) == rounded) & ((theta - scale).to(dtype) == rounded)).sum())
        # θ = m · 2^e with m in [1/2, 1): floats there are 2^(e − 1) · eps apart.
        halves.append(torch.ldexp(torch.full_like(theta, torch.finfo(dtype).eps / 4), torch.frexp(theta).exponent))
    all_halves = torch.cat(halves) if halves else torch.empty(0)
    enough = float(torch.quantile(all_halves, 0.99)) if len(all_halves) else 0.0
    return Resolution(len(all_halves), unmoved, enough)
