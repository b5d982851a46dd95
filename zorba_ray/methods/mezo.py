"""MeZO, a reference without a federation: one client holds all data and all blocks. A round is one step.

Malladi et al.: Fine-Tuning Language Models with Just Forward Passes, NeurIPS 2023. A step is a central difference.
Defaults: those for OPT, with rate 1e-6.
"""

from zorba_ray.config import ExperimentConfig, LocalStep
from zorba_ray.methods.zorba import Zorba


class MeZO(Zorba):
    """Zorba's round with one client and all blocks. Nothing would have to be sent."""

    allocates = False
    central = True
    published = {  # noqa: RUF012
        "zo.lr": 1e-6,
        "zo.schedule": "constant",
        "zo.distribution": "gaussian",
        "zo.difference": "central",
        "federation.clients": 1,
    }
    profiles = {"MeZO": LocalStep()}  # noqa: RUF012

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        super().refuse(config)
        clients = config.federation.clients
        if clients != 1:
            raise ValueError(
                f"federation.clients={clients}: mezo has one client with all data; set federation.clients=1"
            )
