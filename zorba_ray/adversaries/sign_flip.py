"""Sign flip: what the client reports is −`scale` times what it computed, so it walks up where others walk down.

Li, Xu, Chen, Giannakis, Ling: RSA: Byzantine-Robust Stochastic Aggregation Methods, AAAI 2019.
"""

import numpy as np

from zorba_ray.adversaries import Attack


class SignFlip(Attack):
    """`scale` 100 with one client of eight destroys a run that takes the mean."""

    def values(self, values: np.ndarray, round: int) -> np.ndarray:
        return -np.float32(self.scale) * values
