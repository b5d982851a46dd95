"""A run where its settings say: in this process, or next to its directory in the driver actor of a Ray cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zorba_ray.config import ExperimentConfig, config_from_tree
from zorba_ray.experiment.backends import fleet_actors
from zorba_ray.experiment.run import Closing, Emit, run_experiment
from zorba_ray.experiment.rundir import RunDir
from zorba_ray.federation.accelerator import gpu_count

ENTRY = "zorba_ray.experiment.execute:run_in_driver"


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
        return run_experiment(config, run, accelerator, command, emit, should_stop, closing)
    # Ray is imported only where it runs.
    from zorba_ray.federation.placement import cpus_needed, gpus_needed
    from zorba_ray.federation.ray_session import ray_session, require_capacity

    specs = fleet_actors(config, accelerator)
    emit({"kind": "status", "text": "starting Ray"})
    gpus = gpu_count(config) if accelerator == "cuda" else gpus_needed(specs)
    with ray_session(cpus_needed(specs) + 1, gpus) as resources:
        from zorba_ray.federation.ray_driver import launch

        require_capacity(specs, resources)
        payload = driver_payload(config.resolved(), run.path, accelerator, command, closing)
        return launch(ENTRY, payload, emit, should_stop)


def driver_payload(
    tree: dict[str, Any], run: Path, accelerator: str, command: list[str], closing: Closing | None = None
) -> dict[str, Any]:
    """What `run_in_driver` is given. It crosses to the driver actor; `closing`, a function of a module, by its name."""
    return {
        "config": tree,
        "run": str(run.resolve()),
        "accelerator": accelerator,
        "command": command,
        "closing": closing,
    }


def run_in_driver(payload: dict[str, Any], emit: Emit, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """`run_experiment` inside the driver actor."""
    config = config_from_tree(payload["config"], "the driver's settings")
    accelerator, command, closing = (payload[key] for key in ("accelerator", "command", "closing"))
    return run_experiment(config, RunDir(Path(payload["run"])), accelerator, command, emit, should_stop, closing)
