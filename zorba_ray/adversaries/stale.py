"""Stale: the client answers with scalars along the directions of the round before, as if it had missed this plan.

They are of an honest size and say nothing about this round's directions. A frame that says another round is refused
anyway.
"""

import msgspec

from zorba_ray.adversaries import Attack, refuse_without_directions
from zorba_ray.config import ExperimentConfig
from zorba_ray.protocol.messages import RoundPlan


class Stale(Attack):
    """`scale` has no effect."""

    def plan(self, plan: RoundPlan) -> RoundPlan:
        return msgspec.structs.replace(plan, round=plan.round - 1)

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        refuse_without_directions("stale", config)
