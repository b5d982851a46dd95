"""The allocation of a run: solved once, written to allocation.json, read back on resume."""

from typing import Any

import numpy as np

from zorba_ray.allocation import Allocation, allocate
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.fleet import allocation_problem
from zorba_ray.memory import ClientMemory, require_within
from zorba_ray.models import Placement


def solve_allocation(setup: Setup) -> Allocation:
    """Who activates which blocks.

    Where activating costs no memory at all, without a fleet or because `auto` found room for everything, everybody
    activates everything.

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: budgets that cannot bind.
    """
    settings = setup.config.allocation
    free = not any(setup.memory.of(client.budget).active_extra.any() for client in setup.fleet)
    if free and (setup.config.federation.fleet is None or setup.memory.chooses):
        return _everything(setup)
    problem = allocation_problem(setup.config, setup.fleet, setup.memory, setup.model.replica.manifest, setup.samples)
    return allocate(problem, settings.time_limit_s, settings.gap)


def _everything(setup: Setup) -> Allocation:
    if setup.config.allocation.max_blocks is not None:
        raise ConfigError(
            "allocation.max_blocks is set, but with this memory policy an active block costs no more "
            "than a frozen one and "
            "there is nothing to optimise: set memory.frozen=host, or drop allocation.max_blocks"
        )
    clients, blocks = len(setup.fleet), setup.header.blocks
    total = sum(setup.memory.of(client.budget).base for client in setup.fleet)
    return Allocation(
        active=np.ones((clients, blocks), dtype=bool),
        steps=(),
        f1=1.0,
        f2_bytes=total,
        worst_share=0.0,
        gap=0.0,
        solver="none needed: activation costs no memory",
    )


def allocation_record(setup: Setup, allocation: Allocation, accelerator: str) -> dict[str, Any]:
    """allocation.json: who holds what, what it costs, what was proven.

    Raises:
        BudgetExceeded: a client would hold more than its budget.
    """
    manifest = setup.model.replica.manifest
    clients: list[dict[str, Any]] = []
    placements: dict[Placement, ClientMemory] = {}
    for client, samples in zip(setup.fleet, setup.samples, strict=True):
        blocks = allocation.blocks_of(client.id)
        memory, placement = setup.memory.of(client.budget), setup.memory.placement(client.budget)
        placements[placement] = memory
        require_within(client.label, client.budget, memory, frozenset(blocks))
        clients.append(
            {
                "client": client.id,
                "class": client.kind,
                "examples": samples,
                "budget_bytes": client.budget,
                "bytes": memory.bytes_of(frozenset(blocks)),
                "blocks": list(blocks),
                "frozen": placement.frozen,
                "master": placement.master,
            }
        )
    record = allocation.to_dict()
    roomy = setup.memory.of(None)
    return {
        "clients": clients,
        "blocks": setup.header.blocks,
        "block_parameters": [sum(t.numel for t in manifest.by_block[b]) for b in range(manifest.blocks)],
        "block_parameters_in_scope": [
            sum(t.numel for t in manifest.scoped(b, setup.config.zo.scope)) for b in range(manifest.blocks)
        ],
        "placements": [
            {
                "frozen": own.frozen,
                "master": own.master,
                "parts": memory.parts,
                "active_extra_bytes": memory.active_extra.tolist(),
            }
            for own, memory in placements.items()
        ],
        "memory_parts": roomy.parts,
        "active_extra_bytes": roomy.active_extra.tolist(),
        "epsilon": setup.config.allocation.epsilon,
        **{key: record[key] for key in ("f1", "f2_bytes", "worst_share", "gap", "solver", "steps")},
        "bytes_all_active": roomy.bytes_of(frozenset(range(manifest.blocks))),
        "bytes_source": roomy.source,
        "accelerator": accelerator,
        "partition_sha256": setup.header.partition_sha256,
    }


def recorded_active(record: dict[str, Any]) -> list[frozenset[int]]:
    """Active sets of an allocation.json."""
    return [frozenset(entry["blocks"]) for entry in record["clients"]]
