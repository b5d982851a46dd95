"""How a run comes by its clients: in the driver's process, or on Ray actors."""

from collections.abc import Callable

from zorba_ray.artifacts import RunDir
from zorba_ray.assignment import FleetSchedule
from zorba_ray.config import ExperimentConfig
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.privacy import read_secret
from zorba_ray.federation import Backend, ClientHost, SequentialBackend
from zorba_ray.federation.accelerator import gpu_count
from zorba_ray.federation.placement import ActorSpec, place_clients

BackendFactory = Callable[[Setup, ClientHost, RunDir], Backend]
"""(setup, the driver's host, run directory) -> backend."""


def sequential_backend(setup: Setup, host: ClientHost, run: RunDir) -> Backend:
    """All clients in this process, on the driver's replica."""
    host.load_shards(setup.shards)
    return SequentialBackend(host)


def ray_backend(setup: Setup, host: ClientHost, run: RunDir) -> Backend:
    """Clients on Ray actors."""
    # Ray is imported only where it runs.
    from zorba_ray.federation.ray_backend import RayBackend

    return RayBackend(
        setup.config,
        "zorba_ray.experiment.build:worker_host",
        setup.accelerator,
        setup.header,
        fleet_actors(setup.config, setup.accelerator),
        setup.shards,
        run.ledger,
        run.snapshots,
        setup.reward,
        read_secret(setup.config, run),
    )


BACKENDS: dict[str, BackendFactory] = {"sequential": sequential_backend, "ray": ray_backend}
"""By `federation.backend`."""


def fleet_actors(config: ExperimentConfig, accelerator: str) -> list[ActorSpec]:
    """The actors that a run of `config` needs."""
    gpus = gpu_count(config) if accelerator == "cuda" else None
    return place_clients(config.federation, FleetSchedule(config).largest_budgets, gpus)
