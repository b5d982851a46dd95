"""The run inside the driver actor, its clients on Ray actors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig, config_from_tree
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.callbacks import Closing
from zorba_ray.experiment.fleet import largest_budgets
from zorba_ray.experiment.run import run_experiment
from zorba_ray.federation import Backend, ClientHost
from zorba_ray.federation.accelerator import gpu_count
from zorba_ray.federation.placement import ActorSpec, place_clients

ENTRY = "zorba_ray.experiment.on_ray:run_in_driver"


def driver_payload(
    tree: dict[str, Any], run: Path, accelerator: str, command: list[str], closing: Closing | None = None
) -> dict[str, Any]:
    """What `run_in_driver` is given; crosses to the driver actor.

    Args:
        closing: as of `run_experiment`; a function of a module, which travels by name.
    """
    return {
        "config": tree,
        "run": str(run.resolve()),
        "accelerator": accelerator,
        "command": command,
        "closing": closing,
    }


def run_in_driver(
    payload: dict[str, Any], emit: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """`run_experiment` with the Ray backend."""
    config = config_from_tree(payload["config"], "the driver's settings")
    run = RunDir(Path(payload["run"]))
    return run_experiment(
        config, run, ray_backend, payload["accelerator"], payload["command"], emit, should_stop, payload["closing"]
    )


def fleet_actors(config: ExperimentConfig, accelerator: str) -> list[ActorSpec]:
    """The actors that a run of `config` needs."""
    gpus = gpu_count(config) if accelerator == "cuda" else None
    return place_clients(config.federation, largest_budgets(config), gpus)


def ray_backend(setup: Setup, host: ClientHost, allocation: dict[str, Any], run: RunDir) -> Backend:
    """Clients on Ray actors (a `BackendFactory`)."""
    from zorba_ray.federation.ray_backend import RayBackend

    accelerator = allocation["accelerator"]
    specs = fleet_actors(setup.config, accelerator)
    return RayBackend(
        setup.config,
        "zorba_ray.experiment.build:worker_host",
        accelerator,
        setup.header,
        specs,
        setup.shards,
        run.ledger,
        run.snapshots,
    )
