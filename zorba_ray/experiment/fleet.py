"""Clients with names and budgets, and the allocation problem that they and the model make."""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from zorba_ray.allocation import AllocationProblem
from zorba_ray.config import ExperimentConfig, FleetDistribution
from zorba_ray.directions import uniforms
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.fleet_rules import rules
from zorba_ray.memory import FleetMemory
from zorba_ray.models import Manifest
from zorba_ray.zo import BlockEnergies, probe_weights

T = TypeVar("T")


@dataclass(frozen=True)
class Client:
    """One client of the fleet. `budget` is None where the fleet sets none."""

    id: int
    kind: str
    budget: int | None
    present: bool = True
    """Whether it takes part; who is absent holds no block."""

    @property
    def label(self) -> str:
        return f"client {self.id} (class {self.kind})"


def fleet_at(config: ExperimentConfig, number: int) -> list[Client]:
    """The clients in id order as they are in round `number`, after all changes up to it."""
    fleet = _first_fleet(config)
    changes = sorted(config.federation.changes, key=lambda change: change.round)
    first: dict[int, bool] = {}  # whether its first change of presence is that it joins
    for change in changes:
        if change.vram is None:
            for client in config.federation.changed(change):
                first.setdefault(client, change.join)
    for client, joins in first.items():
        fleet[client] = replace(fleet[client], present=not joins)
    for change in changes:
        for client in config.federation.changed(change) if change.round <= number else ():
            if change.vram is not None:
                fleet[client] = replace(fleet[client], budget=change.vram)
            else:
                fleet[client] = replace(fleet[client], present=change.join)
    return fleet


def fleet_rounds(config: ExperimentConfig) -> list[int]:
    """Round 1 and the rounds before which the fleet changes, ascending."""
    return sorted({1, *(change.round for change in config.federation.changes)})


def fleets_by_round(config: ExperimentConfig) -> Callable[[int], list[Client]]:
    """`fleet_at` of any round; the same list for all rounds between two changes."""
    return _by_round(config, lambda fleet: fleet)


def budgets_by_round(config: ExperimentConfig) -> Callable[[int], list[int | None]]:
    """Round -> budget of every client in bytes, None where there is none."""
    return _by_round(config, lambda fleet: [client.budget for client in fleet])


def _by_round(config: ExperimentConfig, part: Callable[[list[Client]], T]) -> Callable[[int], T]:
    rounds = fleet_rounds(config)
    parts = [part(fleet_at(config, number)) for number in rounds]
    return lambda number: parts[bisect.bisect_right(rounds, max(number, 1)) - 1]


def largest_budgets(config: ExperimentConfig) -> list[int | None]:
    """The largest budget that each client has in the run: what its actor asks room for."""
    states = map(budgets_by_round(config), fleet_rounds(config))
    return [None if None in own else max(own) for own in zip(*states, strict=True)]


def allocation_problem(
    config: ExperimentConfig,
    fleet: Sequence[Client],
    memory: FleetMemory,
    manifest: Manifest,
    samples: Sequence[int],
    energies: BlockEnergies | None = None,
) -> AllocationProblem:
    """Numbers only: what the solver needs.

    Args:
        fleet, samples: clients that are present, and |D_n| of each.
        energies: of a probe, for block_weights: probe; without one ω is uniform and γ by parameters.

    Raises:
        ConfigError: budgets are set, but an active block costs no more than a frozen one, so that none can bind; a
            rule names a class, client or block that does not exist; rules that contradict each other.
    """
    settings = config.allocation
    own = [memory.of(client.budget) for client in fleet]
    extra = np.stack([one.active_extra for one in own])
    base = np.array([one.base for one in own], dtype=np.int64)
    # Where `auto` chose so, because everything fits, that is an answer and no mistake.
    if any(client.budget is not None for client in fleet) and not extra.any() and not memory.chooses:
        raise ConfigError(
            f"federation.fleet sets budgets, but with memory.frozen={config.memory.frozen}, memory.master="
            f"{config.memory.master}, memory.compute_dtype={config.memory.compute_dtype} and "
            f"zo.scope={config.zo.scope} an "
            "active block holds no more bytes than a frozen one, so no budget can bind; set "
            "memory.frozen=host, or drop "
            "the fleet"
        )
    cost = np.array(manifest.sizes(config.zo.fixed_scope), dtype=np.float64)
    weights = cost if settings.block_weights == "params" else np.ones(manifest.blocks)
    if energies is not None:
        weights = probe_weights(energies)
        cost = energies.energy if energies.energy.any() else cost
    shared = config.federation.seeds == "shared"
    total = sum(samples)
    return AllocationProblem(
        base_bytes=base,
        active_bytes=extra,
        # A client without a budget has room for everything.
        budget_bytes=np.array(
            [
                int(base[place] + extra[place].sum()) if client.budget is None else client.budget
                for place, client in enumerate(fleet)
            ],
            dtype=np.int64,
        ),
        client_names=tuple(client.label for client in fleet),
        block_weight=weights,
        shared_cost=cost / cost.sum(),
        beta=settings.beta if settings.beta is not None else (1.0 if shared else 0.0),
        epsilon=settings.epsilon,
        coverage=settings.coverage,
        vram_objective=settings.vram,
        order=settings.order,
        data_weight=np.array(samples, dtype=np.float64) / total,
        **_rules_of(config, fleet, memory, manifest),
    )


def _rules_of(
    config: ExperimentConfig, fleet: Sequence[Client], memory: FleetMemory, manifest: Manifest
) -> dict[str, Any]:
    """The rules of the clients in `fleet`; the settings name clients by their ids, absent ones included."""
    kinds = [client.kind for client in _first_fleet(config)]
    streamed = np.zeros(len(kinds), dtype=bool)
    present = [client.id for client in fleet]
    streamed[present] = [memory.placement(client.budget).frozen == "host" for client in fleet]
    found = rules(config, kinds, manifest, streamed)
    if len(present) == len(kinds):
        return found
    return {name: value[present] if isinstance(value, np.ndarray) else value for name, value in found.items()}


def _first_fleet(config: ExperimentConfig) -> list[Client]:
    """The clients before any change, in id order: classes in the order of the file, or budgets drawn from the seed."""
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
