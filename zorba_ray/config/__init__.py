"""Typed settings of a run and of a sweep. Imports no torch, Ray or transformers."""

from zorba_ray.config.adversaries import AdversaryConfig, attack_names, load_attack
from zorba_ray.config.allocation import AllocationConfig
from zorba_ray.config.data import DataConfig
from zorba_ray.config.dimension import Dimension
from zorba_ray.config.experiment import ExperimentConfig
from zorba_ray.config.federation import FederationConfig, FleetClass, FleetDistribution
from zorba_ray.config.loading import anchored, config_from_tree, load_config, presets
from zorba_ray.config.memory import MemoryConfig
from zorba_ray.config.method import DEFAULT_METHOD, LocalStep, MethodSpec, load_method, method_names, settings_of
from zorba_ray.config.model import LoraConfig, ModelConfig
from zorba_ray.config.numbers import changed_numbers
from zorba_ray.config.privacy import PrivacyConfig
from zorba_ray.config.sweep import SweepConfig, load_sweep
from zorba_ray.config.task import DECODED, SCORES, RowKind, TaskConfig, TaskName
from zorba_ray.config.tracking import EvalConfig, TrackingConfig
from zorba_ray.config.zo import DirectionsConfig, ZOConfig

__all__ = [
    "DECODED",
    "DEFAULT_METHOD",
    "SCORES",
    "AdversaryConfig",
    "AllocationConfig",
    "DataConfig",
    "Dimension",
    "DirectionsConfig",
    "EvalConfig",
    "ExperimentConfig",
    "FederationConfig",
    "FleetClass",
    "FleetDistribution",
    "LocalStep",
    "LoraConfig",
    "MemoryConfig",
    "MethodSpec",
    "ModelConfig",
    "PrivacyConfig",
    "RowKind",
    "SweepConfig",
    "TaskConfig",
    "TaskName",
    "TrackingConfig",
    "ZOConfig",
    "anchored",
    "attack_names",
    "changed_numbers",
    "config_from_tree",
    "load_attack",
    "load_config",
    "load_method",
    "load_sweep",
    "method_names",
    "presets",
    "settings_of",
]
