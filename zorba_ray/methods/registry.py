"""Name -> method."""

from zorba_ray.config import ExperimentConfig
from zorba_ray.methods.base import Method
from zorba_ray.methods.decomfl import DeComFL
from zorba_ray.methods.fedavg import FedAvg
from zorba_ray.methods.fedit import FedIT
from zorba_ray.methods.fedkseed import FedKSeed
from zorba_ray.methods.fedmezo import FedMeZO
from zorba_ray.methods.mezo import MeZO
from zorba_ray.methods.zorba import Zorba
from zorba_ray.models import Manifest
from zorba_ray.zo import UpdateRule

METHODS: dict[str, type[Method]] = {
    kind.name: kind for kind in (Zorba, FedAvg, FedIT, FedMeZO, DeComFL, FedKSeed, MeZO)
}


def build_method(config: ExperimentConfig, rule: UpdateRule, manifest: Manifest) -> Method:
    """The method that `config.method` names (the settings allow no other)."""
    return METHODS[config.method](config, rule, manifest)
