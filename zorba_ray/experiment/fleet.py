"""Clients with names and budgets, and the allocation problem that they and the model make."""

from dataclasses import dataclass

import numpy as np

from zorba_ray.allocation import AllocationProblem
from zorba_ray.config import ExperimentConfig, FleetDistribution
from zorba_ray.directions import uniforms
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.fleet_rules import rules
from zorba_ray.memory import ClientMemory
from zorba_ray.models import Manifest


@dataclass(frozen=True)
class Client:
    """One client of the fleet. `budget` is None where the fleet sets none."""

    id: int
    kind: str
    budget: int | None

    @property
    def label(self) -> str:
        return f"client {self.id} (class {self.kind})"


def build_fleet(config: ExperimentConfig) -> list[Client]:
    """The clients in id order: classes in the order of the file, or budgets drawn per client from the run's seed."""
    settings = config.federation
    if settings.fleet is None:
        return [Client(n, "unlimited", None) for n in range(settings.clients)]
    if isinstance(settings.fleet, FleetDistribution):
        low, high = settings.fleet.low, settings.fleet.high
        draws = uniforms(config.seed, "budgets", 0, 0, settings.clients)
        if settings.fleet.distribution == "uniform":
            budgets = low + draws * (high - low)
        else:
            budgets = low * (high / low) ** draws
        return [Client(n, settings.fleet.distribution, int(budgets[n])) for n in range(settings.clients)]
    kinds = [kind for kind in settings.fleet for _ in range(kind.count)]
    return [Client(n, kind.name, kind.vram) for n, kind in enumerate(kinds)]


def allocation_problem(
    config: ExperimentConfig, fleet: list[Client], memory: ClientMemory, manifest: Manifest, samples: list[int]
) -> AllocationProblem:
    """Numbers only: what the solver needs.

    Raises:
        ConfigError: budgets are set, but an active block costs no more than a frozen one, so that none can bind; a
            rule names a class, client or block that does not exist; rules that contradict each other.
    """
    settings = config.allocation
    if any(client.budget is not None for client in fleet) and not memory.active_extra.any():
        raise ConfigError(
            f"federation.fleet sets budgets, but with memory.frozen={config.memory.frozen}, memory.master="
            f"{config.memory.master}, memory.compute_dtype={config.memory.compute_dtype} and "
            f"zo.scope={config.zo.scope} an "
            "active block holds no more bytes than a frozen one, so no budget can bind; set "
            "memory.frozen=host, or drop "
            "the fleet"
        )
    scoped = [sum(t.numel for t in manifest.scoped(b, config.zo.scope)) for b in range(manifest.blocks)]
    weights = np.ones(manifest.blocks) if settings.block_weights == "uniform" else np.array(scoped, dtype=np.float64)
    shared = config.federation.seeds == "shared"
    total = sum(samples)
    return AllocationProblem(
        base_bytes=np.full(len(fleet), memory.base, dtype=np.int64),
        active_bytes=np.broadcast_to(memory.active_extra, (len(fleet), manifest.blocks)),
        # A client without a budget has room for everything.
        budget_bytes=np.array(
            [memory.base + int(memory.active_extra.sum()) if c.budget is None else c.budget for c in fleet],
            dtype=np.int64,
        ),
        client_names=tuple(client.label for client in fleet),
        block_weight=weights,
        shared_cost=np.array(scoped, dtype=np.float64) / sum(scoped),
        beta=settings.beta if settings.beta is not None else (1.0 if shared else 0.0),
        epsilon=settings.epsilon,
        coverage=settings.coverage,
        vram_objective=settings.vram,
        order=settings.order,
        data_weight=np.array(samples, dtype=np.float64) / total,
        **rules(config, [client.kind for client in fleet], manifest),
    )
