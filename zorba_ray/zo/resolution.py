"""Whether weights can be told from themselves plus μ: a step below half the distance between floats moves nothing."""

from dataclasses import dataclass

import torch

from zorba_ray.models import Scope
from zorba_ray.models.replica import Replica

SAMPLE = 1 << 20
"""Weights that are looked at, evenly spread over those in scope."""


@dataclass(frozen=True)
class Resolution:
    """What a perturbation scale moves."""

    looked_at: int
    """Weights of the sample that are not zero; a zero moves by any step."""
    unmoved: int
    """Of these, those for which θ + μ and θ − μ are θ."""
    enough: float
    """The μ that would move 99 % of them."""

    @property
    def share(self) -> float:
        """unmoved / looked_at; 0 where nothing was looked at."""
        return self.unmoved / self.looked_at if self.looked_at else 0.0


def resolution(replica: Replica, scope: Scope, scale: float, compute: torch.dtype) -> Resolution:
    """How many of the weights in scope θ ± μ leaves as they are.

    Args:
        scale: μ.
        compute: dtype of perturbed matrices; vectors are fp32.
    """
    entries = replica.manifest.moved(scope)
    step = max(1, sum(entry.numel for entry in entries) // SAMPLE)
    unmoved, halves = 0, []
    for entry in entries:
        theta = replica.parameters[entry.name][::step].float().cpu()
        theta = theta[theta != 0]
        dtype = compute if len(entry.shape) > 1 else torch.float32
        held = theta.to(dtype)
        unmoved += int((((theta + scale).to(dtype) == held) & ((theta - scale).to(dtype) == held)).sum())
        # θ = m · 2^e with m in [1/2, 1): floats there are 2^(e − 1) · eps apart.
        halves.append(torch.ldexp(torch.full_like(theta, torch.finfo(dtype).eps / 4), torch.frexp(theta).exponent))
    found = torch.cat(halves) if halves else torch.empty(0)
    enough = float(torch.quantile(found, 0.99)) if len(found) else 0.0
    return Resolution(len(found), unmoved, enough)
