"""Which actor serves which clients, and which fraction of a GPU it takes. Numbers only; no Ray here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.config import FederationConfig
from zorba_ray.errors import ConfigError
from zorba_ray.units import format_bytes

GRAIN = 10_000
"""Ray counts GPUs in steps of 1e-4 and truncates."""


@dataclass(frozen=True)
class ActorSpec:
    """One actor: its clients and its resources."""

    name: str
    clients: tuple[int, ...]
    gpu_fraction: float
    cpus: float


def place_clients(config: FederationConfig, budgets: Sequence[int | None], real_gpus: int | None) -> list[ActorSpec]:
    """Actors of the fleet.

    `pinned`: one client each, budget / gpu_memory of a GPU, rounded down to 1e-4, at least 1e-4. `packed`: clients
    dealt round-robin to `workers` actors, which serve them one after another, so that the largest budget counts. A
    fraction is bookkeeping; the cap on a real GPU is set by the actor itself. Without budgets an actor counts 1e-4 of a
    simulated GPU, or an equal share of the `real_gpus`.

    Raises:
        ConfigError: a budget above one GPU.
    """
    gpu_memory = config.gpu_memory
    for client, budget in enumerate(budgets):
        if budget is not None and budget > gpu_memory:
            raise ConfigError(
                f"federation.fleet: client {client} has a budget of {format_bytes(budget)}, one GPU has "
                f"{format_bytes(gpu_memory)} (federation.gpu_memory); a client lives on one GPU"
            )
    pinned = config.mode == "pinned"
    count = len(budgets) if pinned else min(config.workers, len(budgets))
    specs = []
    for number in range(count):
        if real_gpus is None:
            known = [budget for budget in budgets[number::count] if budget is not None]
            share = gpu_fraction(max(known, default=None), gpu_memory)
        else:
            share = max(1, GRAIN // math.ceil(count / real_gpus)) / GRAIN
        # A pinned actor stands for a device of its own: CPUs must not limit how many there are.
        cpus = 0.0 if pinned else float(config.threads)
        name = f"client-{number}" if pinned else f"worker-{number}"
        specs.append(ActorSpec(name, tuple(range(number, len(budgets), count)), share, cpus))
    return specs


def gpu_fraction(budget: int | None, gpu_memory: int) -> float:
    """budget / gpu_memory rounded down to 1e-4, at least 1e-4: seven actors at 0.1428 fit, at 0.1429 not."""
    if budget is None:
        return 1 / GRAIN
    return max(1, budget * GRAIN // gpu_memory) / GRAIN


def largest_first(specs: Sequence[ActorSpec]) -> list[int]:
    """Numbers of the actors in the order in which their shares of GPUs are to be reserved.

    Ray gives a share to the fullest GPU that holds it, in the order of asking: small ones first leave gaps in which no
    large one fits, although `gpus_needed` is right.
    """
    return sorted(range(len(specs)), key=lambda number: -specs[number].gpu_fraction)


def gpus_needed(specs: Sequence[ActorSpec]) -> int:
    """Whole GPUs that hold all fractions, filled largest first."""
    free: list[int] = []
    """Of each GPU, in steps of 1e-4."""
    for share in sorted((round(spec.gpu_fraction * GRAIN) for spec in specs), reverse=True):
        gpu = next((gpu for gpu, left in enumerate(free) if left >= share), len(free))
        if gpu == len(free):
            free.append(GRAIN)
        free[gpu] -= share
    return len(free)


def cpus_needed(specs: Sequence[ActorSpec]) -> int:
    """Whole CPUs for all actors."""
    return math.ceil(sum(spec.cpus for spec in specs))
