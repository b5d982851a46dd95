"""Typed settings of one run. Imports no torch, Ray or transformers."""

from zorba_ray.config.allocation import AllocationConfig
from zorba_ray.config.baselines import METHOD_NAMES, FirstOrderConfig, KSeedConfig
from zorba_ray.config.data import DataConfig
from zorba_ray.config.experiment import (
    ExperimentConfig,
    anchored,
    changed_numbers,
    config_from_tree,
    load_config,
    presets,
)
from zorba_ray.config.federation import FederationConfig, FleetClass, FleetDistribution
from zorba_ray.config.memory import MemoryConfig
from zorba_ray.config.model import LoraConfig, ModelConfig
from zorba_ray.config.sweep import Dimension, SweepConfig, load_sweep
from zorba_ray.config.tracking import EvalConfig, TrackingConfig
from zorba_ray.config.zo import DirectionsConfig, ZOConfig

__all__ = [
    "METHOD_NAMES",
    "AllocationConfig",
    "DataConfig",
    "Dimension",
    "DirectionsConfig",
    "EvalConfig",
    "ExperimentConfig",
    "FederationConfig",
    "FirstOrderConfig",
    "FleetClass",
    "FleetDistribution",
    "KSeedConfig",
    "LoraConfig",
    "MemoryConfig",
    "ModelConfig",
    "SweepConfig",
    "TrackingConfig",
    "ZOConfig",
    "anchored",
    "changed_numbers",
    "config_from_tree",
    "load_config",
    "load_sweep",
    "presets",
]
