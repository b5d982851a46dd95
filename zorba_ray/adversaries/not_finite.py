"""Not finite: every value that the client reports is NaN, as from a broken device."""

import numpy as np

from zorba_ray.adversaries import Attack


class NotFinite(Attack):
    """`scale` has no effect."""

    def values(self, values: np.ndarray, round: int) -> np.ndarray:
        return np.full(len(values), np.nan, dtype=np.float32)
