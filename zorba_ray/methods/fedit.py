"""FedIT: clients train LoRA adapters by AdamW, and the server averages them by number of examples.

Zhang, Vahidian, Kuo, Li, Zhang, Yu, Wang, Chen: Towards Building the FederatedGPT, ICASSP 2024. `model.lora` sets the
adapters. As published, A and B are averaged separately, although the product of the means is not the mean of products.
Defaults: FederatedGPT-Shepherd, main.py.
"""

from typing import Literal

from pydantic import Field

from zorba_ray.config import LocalStep
from zorba_ray.methods.base import BackpropMethod, BackpropSettings


class FedITSettings(BackpropSettings):
    """`method_settings` of FedIT."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    """Optimizer of a client's local steps. Its state is new in every round, because clients keep no state."""
    lr: float = Field(default=3e-4, gt=0)
    """η, the learning rate, in round 1. `schedule` lowers it in later rounds."""


class FedIT(BackpropMethod):
    """4 d bytes up and 4 d bytes down, for d parameters of the adapters."""

    adapters = True
    Settings = FedITSettings
    published = {"zo.scope": "lora", "model.lora": {"rank": 16, "alpha": 16.0, "targets": "query"}}  # noqa: RUF012
    profiles = {  # noqa: RUF012
        "FedIT: LoRA r 16 + AdamW": LocalStep(backward=True, moments=True, rank=16, targets="query")
    }
