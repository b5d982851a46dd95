"""Scaling: what the client reports is `scale` times what it computed, so that its data count for more than they are.

Bagdasaryan, Veit, Hua, Estrin, Shmatikov: How To Backdoor Federated Learning, AISTATS 2020 (model replacement).
"""

import numpy as np

from zorba_ray.adversaries import Attack


class Scaling(Attack):
    """`scale` below 1 makes a client count for less."""

    def values(self, values: np.ndarray, round: int) -> np.ndarray:
        return np.float32(self.scale) * values
