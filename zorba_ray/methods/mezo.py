"""MeZO, the central reference: one client that holds all data, one central difference per step on all blocks.

Malladi et al.: Fine-Tuning Language Models with Just Forward Passes, NeurIPS 2023. A round is a step. Defaults: OPT,
rate 1e-6 and central differences.
"""

from zorba_ray.config import ExperimentConfig, LocalStep
from zorba_ray.methods.zorba import Zorba


class MeZO(Zorba):
    """Zorba's round with one client and all blocks; nothing would have to travel."""

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
            raise ValueError(f"federation.clients={clients}: mezo is central; set federation.clients=1")
