"""Whether clients compute on real GPUs or on simulated ones."""

from typing import Literal

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ClusterError, ConfigError

Accelerator = Literal["simulated", "cuda"]


def choose_accelerator(config: ExperimentConfig) -> Accelerator:
    """`cuda` when real GPUs are asked for, or are there under `auto` and can hold what the memory policy says.

    A real GPU computes in fp32 with all blocks on the device; other memory policies are modelled, on simulated GPUs.

    Raises:
        ClusterError: fewer CUDA devices than `federation.gpus`.
        ConfigError: real GPUs asked for with a memory policy that is only modelled, or triton without real GPUs.
    """
    accelerator = _choose(config)
    if accelerator == "simulated" and config.directions.backend == "triton":
        raise ConfigError(
            f"directions.backend=triton draws on a real GPU, and with federation.gpus={config.federation.gpus} "
            "this run computes on the CPU; set directions.backend=auto (the same bits), or federation.gpus to a "
            "number of real GPUs"
        )
    return accelerator


def _choose(config: ExperimentConfig) -> Accelerator:
    gpus = config.federation.gpus
    if gpus == "simulated":
        return "simulated"
    memory = config.memory
    real = memory.compute_dtype == "fp32" and memory.frozen == "device" and memory.master == "device"
    if gpus == "auto" and not real:
        return "simulated"
    import torch

    found = torch.cuda.device_count()
    if gpus == "auto":
        return "cuda" if found else "simulated"
    if found < int(gpus):
        raise ClusterError(
            f"federation.gpus={gpus} asks for real GPUs, this machine has {found}; "
            "set federation.gpus=simulated (logical GPUs, marked so in all outputs) or run where there are enough"
        )
    if not real:
        raise ConfigError(
            f"federation.gpus={gpus}: on a real GPU this version computes in fp32 with everything on the device; "
            f"memory.compute_dtype={memory.compute_dtype}, memory.frozen={memory.frozen}, "
            f"memory.master={memory.master} are "
            "modelled only: set them to fp32, device and device, or set federation.gpus=simulated"
        )
    return "cuda"


def with_counted_gpus(config: ExperimentConfig, accelerator: Accelerator) -> ExperimentConfig:
    """`federation.gpus=auto` as a number where GPUs are real: a driver actor or a trial sees none to count."""
    if accelerator != "cuda":
        return config
    federation = config.federation.model_copy(update={"gpus": gpu_count(config)})
    return config.model_copy(update={"federation": federation})


def gpu_count(config: ExperimentConfig) -> int:
    """Real GPUs of a federation on `cuda`."""
    import torch

    return torch.cuda.device_count() if config.federation.gpus == "auto" else int(config.federation.gpus)
