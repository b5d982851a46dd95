"""What every replica knows, beside the commits, to derive the update: fixed for a run, in the ledger's header."""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zorba_ray.directions import Distribution
from zorba_ray.models import Scope


@dataclass(frozen=True)
class UpdateRule:
    """Constants of algorithm.md §3 for one run."""

    seed: int
    """Master seed of the directions."""
    seeds: Literal["per_client", "shared"]
    weights: Literal["data", "inverse_noise"]
    distribution: Distribution
    scope: Scope
    directions: int
    """P."""
    local_steps: int
    """K."""
    samples: tuple[int, ...]
    """|D_n| of every client, in client order."""
    rank: int = 0
    """r of U Vᵀ/√r, the directions of matrices; 0: dense."""
    clip_spread: float = 0.0
    """Scalars beyond this multiple of the commit's median |ρ| are shrunk to it; 0: none are."""

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """`samples` as float64 [N]."""
        return np.array(self.samples, dtype=np.float64)

    def stream_of(self, client: int) -> int:
        """The `stream` of a client's directions: its id, or 0 when all share one."""
        return client if self.seeds == "per_client" else 0
