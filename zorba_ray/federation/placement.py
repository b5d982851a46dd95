"""Assigns clients to actors, and computes the fraction of a GPU of each actor. Numbers only, without Ray."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.config import FederationConfig
from zorba_ray.errors import ConfigError
from zorba_ray.units import format_bytes

GRAIN = 10_000
"""Ray counts GPUs in steps of 1e-4, and rounds down."""


@dataclass(frozen=True)
class ActorSpec:
    """One actor: its clients and its resources."""

    name: str
    clients: tuple[int, ...]
    gpu_fraction: float
    cpus: float


def place_clients(config: FederationConfig, budgets: Sequence[int | None], real_gpus: int | None) -> list[ActorSpec]:
    """The actors of a fleet.

    - `pinned`: one client per actor, with budget / gpu_memory of a GPU, rounded down to 1e-4, at least 1e-4.
    - `packed`: clients are given to `workers` actors in turn. An actor serves its clients one after another, so the
      largest budget counts.

    Without budgets an actor counts as 1e-4 of a simulated GPU. With `real_gpus` each actor counts as an equal share of
    them. Fractions are for Ray's bookkeeping only; the actor itself limits the memory of a real GPU.

    Raises:
        ConfigError: a budget is larger than one GPU.
    """
    gpu_memory = config.gpu_memory
    for client, budget in enumerate(budgets):
        if budget is not None and budget > gpu_memory:
            raise ConfigError(
                f"federation.fleet: client {client} has a budget of {format_bytes(budget)}, but a client runs on one "
                f"GPU, which has {format_bytes(gpu_memory)}; lower the budget or raise federation.gpu_memory"
            )
    pinned = config.mode == "pinned"
    count = len(budgets) if pinned else min(config.workers, len(budgets))
    specs = []
    for number in range(count):
        if real_gpus is None:
            limited = [budget for budget in budgets[number::count] if budget is not None]
            share = gpu_fraction(max(limited, default=None), gpu_memory)
        else:
            share = max(1, GRAIN // math.ceil(count / real_gpus)) / GRAIN
        # A pinned actor simulates a device. CPUs must not limit the number of devices, so it reserves none.
        cpus = 0.0 if pinned else float(config.threads)
        name = f"client-{number}" if pinned else f"worker-{number}"
        specs.append(ActorSpec(name, tuple(range(number, len(budgets), count)), share, cpus))
    return specs


def gpu_fraction(budget: int | None, gpu_memory: int) -> float:
    """budget / gpu_memory, rounded down to 1e-4, at least 1e-4. Rounded down, because seven actors at 0.1428 fit on a
    GPU, and seven at 0.1429 do not."""
    if budget is None:
        return 1 / GRAIN
    return max(1, budget * GRAIN // gpu_memory) / GRAIN


def largest_first(specs: Sequence[ActorSpec]) -> list[int]:
    """Numbers of the actors in the order in which they must reserve their shares of GPUs: the largest share first.

    Ray puts a share on the fullest GPU that has space for it, in the order of requests. If small shares came first,
    they could leave gaps that are too small for a large one, although there are `gpus_needed` GPUs.
    """
    return sorted(range(len(specs)), key=lambda number: -specs[number].gpu_fraction)


def gpus_needed(specs: Sequence[ActorSpec]) -> int:
    """Number of GPUs that hold all fractions, if the largest are placed first."""
    free: list[int] = []
    """Free share of each GPU, in steps of 1e-4."""
    for share in sorted((round(spec.gpu_fraction * GRAIN) for spec in specs), reverse=True):
        gpu = next((gpu for gpu, free_share in enumerate(free) if free_share >= share), len(free))
        if gpu == len(free):
            free.append(GRAIN)
        free[gpu] -= share
    return len(free)


def cpus_needed(specs: Sequence[ActorSpec]) -> int:
    """Number of CPUs for all actors."""
    return math.ceil(sum(spec.cpus for spec in specs))
