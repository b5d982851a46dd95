"""A network that was just loaded -> the model of a run at θ0, on what computes."""

import os
import platform

import torch

from zorba_ray.config import ExperimentConfig, ModelConfig
from zorba_ray.directions import DirectionBackend, cpu_directions, direction_backend, timed
from zorba_ray.errors import ConfigError
from zorba_ray.models import HostStore, LoadedModel, Manifest, Scope, TaskModel, load_model
from zorba_ray.models.rounded import round_matrices
from zorba_ray.stopwatch import UNWATCHED, Watch
from zorba_ray.tasks.reward import Reward


def start_model(config: ExperimentConfig, source: ModelConfig | None = None) -> LoadedModel:
    """The model of a run at θ0: as it was loaded, but matrices that stay packed for the whole run are rounded.

    Args:
        source: another place of the same model; None: `config.model`.

    Raises:
        ModelError: as `load_model`.
    """
    loaded, memory = load_model(source or config.model), config.memory
    if memory.stem_format != "compute":
        round_matrices(loaded, memory.stem_format, blocks=False)
    if memory.frozen_format in ("int8", "nf4") and not config.spec.allocates:  # a base that nobody trains
        round_matrices(loaded, memory.frozen_format, blocks=True)
    return loaded


def host_store(config: ExperimentConfig, device: str) -> HostStore | None:
    """How a process that serves clients keeps θ; None: on `device`, in fp32, all of it.

    Methods whose commits are not scalars cannot defer updates, so their θ always
    stays on the compute device.
    """
    memory = config.memory
    if config.spec.commits not in ("scalars", "mean"):
        return None
    apart = device != "cpu"
    dtype = torch.bfloat16 if apart and memory.compute_dtype == "bf16" else torch.float32
    packs = memory.frozen_format != "compute"
    if dtype == torch.float32 and memory.frozen == memory.master == "device" and not packs:
        return None
    return HostStore(dtype, apart, packs, memory.stem_format)


def set_threads(config: ExperimentConfig) -> None:
    """torch's threads in this process: matrix kernels may answer otherwise with another number (algorithm.md §3).

    Raises:
        ConfigError: more than this machine has cores.
    """
    threads, cores = config.federation.threads, os.cpu_count() or 1
    if threads > cores:
        raise ConfigError(
            f"federation.threads={threads} exceeds the {cores} cores of this machine ({platform.node()}): set "
            f"federation.threads to {cores} or less on every node"
        )
    torch.set_num_threads(threads)


def task_model(
    loaded: LoadedModel,
    config: ExperimentConfig,
    device: str,
    watch: Watch = UNWATCHED,
    store: HostStore | None = None,
    reward: Reward | None = None,
) -> TaskModel:
    """The model at θ0 with its head, on `device`, from a network that was just loaded; `store` and `reward` as of
    `TaskModel`."""
    directions = directions_of(config, device, watch)
    data, scope, rank = config.data, config.zo.fixed_scope, config.zo.matrix_rank
    longest = data.max_length + config.task.max_new_tokens
    model = TaskModel(
        loaded,
        config.model,
        data.prompt,
        data.label_words,
        scope,
        directions,
        device,
        rank,
        store,
        config.task,
        longest,
        reward,
    )
    _check_scope(model.replica.manifest, scope)
    _check_rank(rank, model.replica.manifest, scope)
    if config.zo.shared_by:
        model.require_examples()
    return model


def _check_scope(manifest: Manifest, scope: Scope) -> None:
    empty = [block for block, size in enumerate(manifest.sizes(scope)) if not size]
    if empty:
        raise ConfigError(f"zo.scope={scope}: block {empty[0]} of this model has no such tensor; set another scope")


def _check_rank(rank: int, manifest: Manifest, scope: Scope) -> None:
    for block in range(manifest.blocks):
        for tensor in manifest.scoped(block, scope):
            side = min(tensor.shape[0], tensor.numel // tensor.shape[0])
            if len(tensor.shape) >= 2 and rank > side:
                shape = " × ".join(map(str, tensor.shape))
                raise ConfigError(
                    f"zo.rank={rank} exceeds {side}, the smaller side of {tensor.name} ({shape}): lower it, or set "
                    "zo.rank=null"
                )


def compute_device(accelerator: str) -> str:
    """Where clients compute: simulated accelerators are this machine's CPU."""
    return "cuda" if accelerator == "cuda" else "cpu"


def directions_of(config: ExperimentConfig, device: str, watch: Watch) -> DirectionBackend:
    """The kernels that draw and apply directions on `device`."""
    name = config.directions.backend
    return timed(cpu_directions(name) if device == "cpu" else direction_backend(name, device), watch)
