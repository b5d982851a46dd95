"""Builds the allocation problem, which has numbers only, from the fleet of a round, the model and the settings."""

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
    """All that is needed to assign blocks to clients."""

    config: ExperimentConfig
    manifest: Manifest
    memory: FleetMemory
    """Bytes of a client, by its budget and active set."""
    header: LedgerHeader
    """Header of the run's ledger. It has |D_n| and L, and its chain comes before the first assignment."""
    fleet: FleetSchedule
    accelerator: str
    """The clients' accelerator: cuda or simulated."""

    @property
    def samples(self) -> tuple[int, ...]:
        """|D_n|."""
        return self.header.samples


def problem_of(inputs: AssignmentInputs, fleet: Sequence[Client], probe: BlockProbe | None = None) -> AllocationProblem:
    """The problem of the clients that are present, in id order.

    Args:
        probe: source of ω and γ with block_weights=probe. Without one ω is uniform, and γ is by parameters.

    Raises:
        ConfigError: there are budgets, but an active block costs no more memory than a frozen one; a rule names a
            class, client or block that does not exist; rules contradict each other.
    """
    config, settings = inputs.config, inputs.config.allocation
    present_clients = [client for client in fleet if client.present]
    memories = [inputs.memory.of(client.budget) for client in present_clients]
    extra = np.stack([memory.active_extra for memory in memories])
    base = np.array([memory.base for memory in memories], dtype=np.int64)
    _require_binding_budgets(inputs, present_clients, extra)
    # A client without a budget can hold all blocks.
    full = base + extra.sum(axis=1)
    budgets = [full[row] if client.budget is None else client.budget for row, client in enumerate(present_clients)]
    cost = np.array(inputs.manifest.sizes(config.zo.fixed_scope), dtype=np.float64)
    weights = cost if settings.block_weights == "params" else np.ones(len(cost))
    if probe is not None:
        weights, energy = np.array(probe.weights), np.array(probe.energy)
        cost = energy if energy.any() else cost
    shared = config.federation.seeds == "shared"
    kinds = [client.kind for client in inputs.fleet.at(1)]
    placements = [inputs.memory.placement(client.budget) for client in fleet]
    present = [client.id for client in present_clients]
    restricted: dict[str, Any] = {
        name: value[present] if isinstance(value, np.ndarray) else value
        for name, value in rules(config, kinds, inputs.manifest, placements).items()
    }
    return AllocationProblem(
        base_bytes=base,
        active_bytes=extra,
        budget_bytes=np.array(budgets, dtype=np.int64),
        client_names=tuple(client.label for client in present_clients),
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


def _require_binding_budgets(inputs: AssignmentInputs, present_clients: Sequence[Client], extra: np.ndarray) -> None:
    # With `auto` this is no mistake: all blocks fit, so they are all kept on the accelerator.
    if extra.any() or inputs.memory.chooses or all(client.budget is None for client in present_clients):
        return
    config = inputs.config
    raise ConfigError(
        f"federation.fleet sets budgets, but with memory.frozen={config.memory.frozen}, memory.frozen_format="
        f"{config.memory.frozen_format}, memory.master={config.memory.master}, memory.compute_dtype="
        f"{config.memory.compute_dtype} and zo.scope={config.zo.scope} an active block takes no more bytes than a "
        "frozen one (what is out of scope is kept alike in both), so budgets cannot decide which blocks are active; "
        "set memory.frozen=host, or drop federation.fleet"
    )
