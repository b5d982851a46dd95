"""FedIT: LoRA adapters trained by AdamW at the clients, averaged by examples.

Zhang, Vahidian, Kuo, Li, Zhang, Yu, Wang, Chen: Towards Building the FederatedGPT, ICASSP 2024. `model.lora` says which
adapters; A and B are averaged each by itself, as published, though the mean of products is not the product of means.
Defaults: FederatedGPT-Shepherd, main.py.
"""

from typing import Literal

from pydantic import Field

from zorba_ray.config import LocalStep
from zorba_ray.methods.base import BackpropMethod, BackpropSettings


class FedITSettings(BackpropSettings):
    """`method_settings` of FedIT."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    """Of a client's local steps; its state begins anew in every round, as no client keeps any."""
    lr: float = Field(default=3e-4, gt=0)
    """η at round 1; `schedule` gives the rest."""


class FedIT(BackpropMethod):
    """4 d bytes each way, d of the adapters."""

    adapters = True
    Settings = FedITSettings
    published = {"zo.scope": "lora", "model.lora": {"rank": 16, "alpha": 16.0, "targets": "query"}}  # noqa: RUF012
    profiles = {  # noqa: RUF012
        "FedIT: LoRA r 16 + AdamW": LocalStep(backward=True, moments=True, rank=16, targets="query")
    }
