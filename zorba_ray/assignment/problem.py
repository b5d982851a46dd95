"""What a round's fleet, the model and the settings ask of the solver: the allocation problem, numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zorba_ray.allocation import AllocationProblem
from zorba_ray.artifacts.allocation import BlockProbe
from zorba_ray.assignment.fleet import Client, FleetSchedule
from zorba_ray.assignment.rules import rules
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError
from zorba_ray.memory import FleetMemory
from zorba_ray.models import Manifest
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.zo import BlockEnergies


@dataclass(frozen=True)
class AssignmentInputs:
    """What assigning blocks to clients rests on."""

    config: ExperimentConfig
    manifest: Manifest
    memory: FleetMemory
    """Bytes of a client, by budget and active set."""
    header: LedgerHeader
    """Of the run's ledger: |D_n|, L, and the chain that the first assignment hangs on."""
    fleet: FleetSchedule
    accelerator: str
    """What clients compute on: cuda or simulated."""

    @property
    def samples(self) -> tuple[int, ...]:
        """|D_n|."""
        return self.header.samples


def problem_of(inputs: AssignmentInputs, fleet: Sequence[Client], probe: BlockProbe | None = None) -> AllocationProblem:
    """The problem of the clients that are present, in id order.

    Args:
        probe: what ω rests on under block_weights: probe; without one ω is uniform and γ by parameters.

    Raises:
        ConfigError: budgets are set, but an active block costs no more than a frozen one, so that none can bind; a
            rule names a class, client or block that does not exist; rules that contradict each other.
    """
    config, settings = inputs.config, inputs.config.allocation
    here = [client for client in fleet if client.present]
    memories = [inputs.memory.of(client.budget) for client in here]
    extra = np.stack([memory.active_extra for memory in memories])
    base = np.array([memory.base for memory in memories], dtype=np.int64)
    _require_binding_budgets(inputs, here, extra)
    # A client without a budget has room for everything.
    full = base + extra.sum(axis=1)
    budgets = [full[row] if client.budget is None else client.budget for row, client in enumerate(here)]
    cost = np.array(inputs.manifest.sizes(config.zo.fixed_scope), dtype=np.float64)
    weights = cost if settings.block_weights == "params" else np.ones(len(cost))
    if probe is not None:
        weights, energy = np.array(probe.weights), np.array(probe.energy)
        cost = energy if energy.any() else cost
    shared = config.federation.seeds == "shared"
    kinds = [client.kind for client in inputs.fleet.at(1)]
    streamed = np.array([inputs.memory.placement(client.budget).frozen == "host" for client in fleet])
    present = [client.id for client in here]
    restricted: dict[str, Any] = {
        name: value[present] if isinstance(value, np.ndarray) else value
        for name, value in rules(config, kinds, inputs.manifest, streamed).items()
    }
    return AllocationProblem(
        base_bytes=base,
        active_bytes=extra,
        budget_bytes=np.array(budgets, dtype=np.int64),
        client_names=tuple(client.label for client in here),
        block_weight=weights,
        shared_cost=cost / cost.sum(),
        beta=float(shared),
        epsilon=settings.epsilon,
        coverage=settings.coverage,
        vram_objective=settings.vram,
        order=settings.order,
        **restricted,
    )


def energies_of(probe: BlockProbe | None) -> BlockEnergies | None:
    """The estimates of a probe as float64 [L]; None without one."""
    if probe is None:
        return None
    lists = (probe.energy, probe.dissimilarity, probe.noise, probe.dissimilarity_error)
    return BlockEnergies(*(np.array(values, dtype=np.float64) for values in lists))


def _require_binding_budgets(inputs: AssignmentInputs, here: Sequence[Client], extra: np.ndarray) -> None:
    # Where `auto` chose so, because everything fits, that is an answer and no mistake.
    if extra.any() or inputs.memory.chooses or all(client.budget is None for client in here):
        return
    config = inputs.config
    raise ConfigError(
        f"federation.fleet sets budgets, but with memory.frozen={config.memory.frozen}, memory.master="
        f"{config.memory.master}, memory.compute_dtype={config.memory.compute_dtype} and "
        f"zo.scope={config.zo.scope} an active block holds no more bytes than a frozen one, so no budget can bind; set "
        "memory.frozen=host, or drop the fleet"
    )
