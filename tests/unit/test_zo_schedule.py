"""η of a round."""

import math
from typing import Literal

import pytest

from zorba_ray.zo import scheduled

COSINE = [1.0, 0.5 * (1 + math.sqrt(0.5)), 0.5, 0.5 * (1 - math.sqrt(0.5))]
"""½ (1 + cos π t) at t = 0, ¼, ½, ¾."""


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("constant", [1.0, 1.0, 1.0, 1.0]), ("linear", [1.0, 0.75, 0.5, 0.25]), ("cosine", COSINE)],
)
def test_what_is_left_in_each_of_four_rounds(
    schedule: Literal["constant", "linear", "cosine"], shares: list[float]
) -> None:
    """linear and cosine would reach zero after the last one; in a run of one round all is left."""
    assert [scheduled(schedule, 2.0, t, 4) for t in (1, 2, 3, 4)] == pytest.approx([2 * share for share in shares])
    assert scheduled(schedule, 0.1, 1, 1) == 0.1
