"""AdamW, a first-order reference without a federation: one client holds all data, and backpropagates.

Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019; without weight decay here. It trains the tensors
of the blocks in `zo.scope`, by default all. No client of a federation could do this: it shows what the data can teach.
A round is K steps, and the moments begin anew in every round, as in the other methods that backpropagate.
"""

from typing import Literal

from pydantic import Field

from zorba_ray.config import ExperimentConfig
from zorba_ray.methods.base import BackpropMethod, BackpropSettings


class AdamWSettings(BackpropSettings):
    """`method_settings` of AdamW."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    """Optimizer of the steps."""
    lr: float = Field(default=3e-5, gt=0)
    """η, the learning rate, in round 1. `schedule` lowers it in later rounds."""
    local_steps: int = Field(default=100, ge=1)
    """K, the number of minibatches of a round."""


class AdamW(BackpropMethod):
    """FedAvg's round with one client, so that the mean is its own result. Nothing would have to be sent."""

    central = True
    Settings = AdamWSettings
    published = {"federation.clients": 1}  # noqa: RUF012

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        super().refuse(config)
        if config.federation.clients != 1:
            raise ValueError(
                f"federation.clients={config.federation.clients}: adamw has one client with all data; set "
                "federation.clients=1"
            )
