"""Attacks of clients on the federation, one file each. They are for research: how much harm is done, what helps?

An attack runs where the client runs, in its process, and has what a client has: the plan, θ, and its own data. It
changes what this client reports, and nothing else. Like an honest answer, the report depends on the plan, θ and the
data alone, so that a client that is asked again gives the same bytes. So a run under attack has one SHA-256 too, and a
replay confirms it.

A file of this package has one class derived from `Attack`. It overrides what it needs of `plan`, `batches` and
`values`. `adversaries: [{clients: [3], kind: my_lab.my_attack}]` names a module of your own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zorba_ray.config import ExperimentConfig, load_attack
from zorba_ray.protocol.messages import RoundPlan

if TYPE_CHECKING:
    from zorba_ray.models import Batch


class Attack:
    """What one hostile client does. Without an override it is honest."""

    def __init__(self, config: ExperimentConfig, client: int, scale: float) -> None:
        self.config, self.client, self.scale = config, client, scale

    def plan(self, plan: RoundPlan) -> RoundPlan:
        """The plan by which this client computes; its round says which directions it takes."""
        return plan

    def batches(self, batches: Sequence["Batch"]) -> Sequence["Batch"]:
        """The minibatches on which this client computes, one per local step."""
        return batches

    def values(self, values: np.ndarray, round: int) -> np.ndarray:
        """What this client reports.

        Args:
            values: float32 [k], what it computed: scalars ρ, or how far each trained weight moved.
        """
        return values

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        """Raises ValueError: the run has nothing that this attack could change."""


def attacks_of(config: ExperimentConfig) -> dict[int, Attack]:
    """Hostile client -> its attack (`adversaries`)."""
    return {
        client: load_attack(entry.kind)(config, client, entry.scale)
        for entry in config.adversaries
        for client in entry.clients
    }


def refuse_without_directions(name: str, config: ExperimentConfig) -> None:
    """Raises ValueError: the clients of the method backpropagate, so they have no directions."""
    if config.spec.backward:
        raise ValueError(
            f"adversaries: kind {name} takes wrong directions, and clients of method={config.method} have none; take "
            "another kind, such as sign_flip"
        )
