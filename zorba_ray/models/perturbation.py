"""θ ± μz: along which direction, and how far."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from zorba_ray.directions import Distribution


def group_count(examples: int, shared_by: int) -> int:
    """The number of groups of `shared_by` examples, one after another, the last of which may be smaller; 0 groups of
    0."""
    return -(-examples // shared_by) if shared_by else 0


@dataclass(frozen=True)
class Perturbation:
    """θ ± μz on the active blocks, for one direction of one client and step."""

    seed: int
    """seed64 of (round, stream, step)."""
    direction: int
    scale: float
    """μ."""
    distribution: Distribution
    overlay: Mapping[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    """(block, slot) -> flat fp32 tensor that stands for θ there (local steps); absent: θ itself."""
    shared_by: int = 0
    """b: of the examples of a batch, so many one after another share a direction; 0: all of them. Group g of `groups`
    has direction `direction` · groups + g. Directions of rank 1 only."""
    groups: int = 0
    """G, of a full batch."""
