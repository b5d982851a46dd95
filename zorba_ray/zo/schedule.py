"""Values that fall over the rounds: the learning rate, and the correction of label shares."""

import math
from typing import Literal


def scheduled(schedule: Literal["constant", "linear", "cosine"], value: float, round: int, rounds: int) -> float:
    """`value` as it is in `round` (1 … rounds). Round 1 has all of it; linear and cosine would reach 0 in round
    `rounds` + 1."""
    passed = (round - 1) / rounds
    if schedule == "constant":
        return value
    if schedule == "linear":
        return value * (1.0 - passed)
    return value * 0.5 * (1.0 + math.cos(math.pi * passed))
