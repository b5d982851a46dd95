"""Noise: normal numbers, `scale` times as large as what the client computed, are added to it."""

import numpy as np

from zorba_ray.adversaries import Attack
from zorba_ray.directions import normals


class Noise(Attack):
    """Other numbers in each round and for each client."""

    def values(self, values: np.ndarray, round: int) -> np.ndarray:
        size = np.sqrt(np.mean(values.astype(np.float64) ** 2))
        drawn = normals(self.config.seed, "adversaries", self.client + 1, round, len(values))
        return (values + self.scale * size * drawn).astype(np.float32)
