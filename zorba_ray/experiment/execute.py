"""A run where its settings say: in this process, or on Ray."""

from collections.abc import Callable
from typing import Any

from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig
from zorba_ray.experiment.backends import sequential_backend
from zorba_ray.experiment.callbacks import Closing, Emit
from zorba_ray.experiment.run import run_experiment
from zorba_ray.federation.accelerator import gpu_count


def execute(
    config: ExperimentConfig,
    run: RunDir,
    accelerator: str,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None,
) -> dict[str, Any]:
    """`run_experiment` by `federation.backend`; returns the summary.

    Raises:
        ZorbaError: as `run_experiment`.
        ClusterError: no Ray, or one that is too small.
    """
    if config.federation.backend == "sequential":
        return run_experiment(config, run, sequential_backend, accelerator, command, emit, should_stop, closing)
    # Ray is imported only where it runs.
    from zorba_ray.experiment.on_ray import ENTRY, driver_payload, fleet_actors
    from zorba_ray.federation.placement import cpus_needed, gpus_needed
    from zorba_ray.federation.ray_session import ray_session, require_capacity

    specs = fleet_actors(config, accelerator)
    emit({"kind": "status", "text": "starting Ray"})
    gpus = gpu_count(config) if accelerator == "cuda" else gpus_needed(specs)
    with ray_session(config.federation.address, cpus_needed(specs) + 1, gpus) as resources:
        from zorba_ray.federation.ray_driver import launch

        require_capacity(specs, resources)
        payload = driver_payload(config.resolved(), run.path, accelerator, command, closing)
        return launch(ENTRY, payload, emit, should_stop)
