"""Decides whether clients compute on real GPUs or on simulated ones."""

import math
from typing import Literal

from zorba_ray.config import ExperimentConfig, FederationConfig, FleetDistribution
from zorba_ray.errors import ClusterError, ConfigError
from zorba_ray.units import format_bytes

Accelerator = Literal["simulated", "cuda"]

LEAST_BUDGET = 256 * 2**20
"""Smallest budget in bytes on a real GPU: workspaces of CUDA's libraries take tens of MiB."""


def choose_accelerator(config: ExperimentConfig) -> Accelerator:
    """`cuda` if `federation.gpus` is a number; with `auto`, if there are real GPUs and all budgets are large enough for
    them. Else `simulated`.

    Raises:
        ClusterError: fewer CUDA devices than `federation.gpus`.
        ConfigError: a budget that is too small for a real GPU, or triton without real GPUs.
    """
    accelerator = _choose(config.federation)
    if accelerator == "simulated" and config.directions.backend == "triton":
        raise ConfigError(
            f"directions.backend=triton draws on a real GPU, and with federation.gpus={config.federation.gpus} "
            "this run computes on the CPU; set directions.backend=auto (the same bits), or federation.gpus to a "
            "number of real GPUs"
        )
    return accelerator


def _choose(federation: FederationConfig) -> Accelerator:
    gpus, least = federation.gpus, _least_budget(federation)
    if gpus == "simulated" or (gpus == "auto" and least < LEAST_BUDGET):
        return "simulated"
    import torch

    present = torch.cuda.device_count()
    if gpus == "auto":
        return "cuda" if present else "simulated"
    if present < int(gpus):
        raise ClusterError(
            f"federation.gpus={gpus} needs {gpus} real GPUs, this machine has {present}; set federation.gpus=simulated "
            "(GPUs are then only counted, and all outputs say so), or run on a machine with enough GPUs"
        )
    if least < LEAST_BUDGET:
        raise ConfigError(
            f"federation.gpus={gpus}: the smallest budget of federation.fleet is {format_bytes(least)}, which is too "
            "small for the workspaces of CUDA's libraries; give every client at least "
            f"{format_bytes(LEAST_BUDGET)}, or set federation.gpus=simulated"
        )
    return "cuda"


def _least_budget(federation: FederationConfig) -> float:
    if federation.fleet is None:
        return math.inf
    if isinstance(federation.fleet, FleetDistribution):
        return federation.fleet.low
    return min(kind.vram for kind in federation.fleet)


def with_counted_gpus(config: ExperimentConfig, accelerator: Accelerator) -> ExperimentConfig:
    """With real GPUs, `federation.gpus=auto` is replaced by their number: a driver actor or a trial sees no GPUs."""
    if accelerator != "cuda":
        return config
    federation = config.federation.model_copy(update={"gpus": gpu_count(config)})
    return config.model_copy(update={"federation": federation})


def gpu_count(config: ExperimentConfig) -> int:
    """Number of real GPUs of a federation on `cuda`."""
    import torch

    return torch.cuda.device_count() if config.federation.gpus == "auto" else int(config.federation.gpus)
