"""Copies: all clients of the entry report the same normal numbers of the size `scale`, so they look alike and agree.

A rule that takes the report with the nearest neighbours, such as Krum, takes theirs where they are enough. Sybils, as
in Fung, Yoon, Beschastnikh: The Limitations of Federated Learning in Sybil Settings, RAID 2020.
"""

import numpy as np

from zorba_ray.adversaries import Attack
from zorba_ray.directions import normals


class Copies(Attack):
    """`scale` is in units of ρ (nats per unit of z): a run's `scalar_rms` says how large honest scalars are."""

    def values(self, values: np.ndarray, round: int) -> np.ndarray:
        return (self.scale * normals(self.config.seed, "adversaries", 0, round, len(values))).astype(np.float32)
