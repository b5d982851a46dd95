"""Other seed: the client measures along directions of a seed that is not its own, and reports them as its own.

They are of an honest size and say nothing about its directions: the update walks along random ones for this client.
"""

import msgspec

from zorba_ray.adversaries import Attack, refuse_without_directions
from zorba_ray.config import ExperimentConfig
from zorba_ray.protocol.messages import RoundPlan

_FAR = 2**40
"""Rounds beyond any run: their directions are used by nobody else."""


class OtherSeed(Attack):
    """`scale` has no effect."""

    def plan(self, plan: RoundPlan) -> RoundPlan:
        return msgspec.structs.replace(plan, round=plan.round + _FAR)

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        refuse_without_directions("other_seed", config)
