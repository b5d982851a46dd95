"""Learning rate of a round."""

import math
from typing import Literal


def learning_rate(schedule: Literal["constant", "linear", "cosine"], lr: float, round: int, rounds: int) -> float:
    """η of `round` (1 … rounds): `lr` at round 1; linear and cosine would reach 0 at round `rounds` + 1."""
    passed = (round - 1) / rounds
    if schedule == "constant":
        return lr
    if schedule == "linear":
        return lr * (1.0 - passed)
    return lr * 0.5 * (1.0 + math.cos(math.pi * passed))
