"""How a run comes by its clients: a factory that is given what the driver has."""

from collections.abc import Callable
from typing import Any

from zorba_ray.artifacts import RunDir
from zorba_ray.experiment.build import Setup
from zorba_ray.federation import Backend, ClientHost, SequentialBackend

BackendFactory = Callable[[Setup, ClientHost, dict[str, Any], RunDir], Backend]
"""(setup, the driver's host, allocation.json, run directory) -> backend."""


def sequential_backend(setup: Setup, host: ClientHost, allocation: dict[str, Any], run: RunDir) -> Backend:
    """All clients in this process, on the driver's replica."""
    return SequentialBackend(host)
