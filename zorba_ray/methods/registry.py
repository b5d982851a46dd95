"""Name -> method."""

from zorba_ray.config import ExperimentConfig
from zorba_ray.methods.base import Method
from zorba_ray.methods.zorba import Zorba
from zorba_ray.zo import UpdateRule


def build_method(config: ExperimentConfig, rule: UpdateRule) -> Method:
    """The method that `config.method` names (the settings allow no other)."""
    return {"zorba": Zorba}[config.method](config.zo, config.rounds, rule)
