"""The allocation of a run: solved once, written to allocation.json, read back on resume."""

from typing import Any

import numpy as np

from zorba_ray.allocation import Allocation, allocate
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.allocation_facts import allocation_facts, problem_of, scoped_sizes
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.fleet import allocation_problem


def solve_allocation(setup: Setup) -> Allocation:
    """Who activates which blocks.

    Without a fleet, where activating costs no memory at all, everybody activates everything (or the last
    `allocation.max_blocks` blocks).

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: budgets that cannot bind.
    """
    settings = setup.config.allocation
    if setup.config.federation.fleet is None and not setup.memory.active_extra.any():
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
    total = clients * setup.memory.base
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
    """allocation.json: who holds what, what it costs, what was proven."""
    manifest = setup.model.replica.manifest
    clients = []
    for client, samples in zip(setup.fleet, setup.samples, strict=True):
        blocks = allocation.blocks_of(client.id)
        clients.append(
            {
                "client": client.id,
                "class": client.kind,
                "examples": samples,
                "budget_bytes": client.budget,
                "bytes": setup.memory.bytes_of(frozenset(blocks)),
                "blocks": list(blocks),
            }
        )
    record = allocation.to_dict()
    return {
        "clients": clients,
        "blocks": setup.header.blocks,
        "block_parameters": [sum(t.numel for t in manifest.by_block[b]) for b in range(manifest.blocks)],
        "block_parameters_in_scope": [
            sum(t.numel for t in manifest.scoped(b, setup.config.zo.scope)) for b in range(manifest.blocks)
        ],
        "memory_parts": setup.memory.parts,
        "active_extra_bytes": setup.memory.active_extra.tolist(),
        "epsilon": setup.config.allocation.epsilon,
        **{key: record[key] for key in ("f1", "f2_bytes", "worst_share", "gap", "solver", "steps")},
        "vram_objective": setup.config.allocation.vram,
        "weights": setup.config.federation.weights,
        **allocation_facts(problem_of(setup), allocation, scoped_sizes(setup), setup.config.zo.directions),
        "bytes_all_active": setup.memory.bytes_of(frozenset(range(manifest.blocks))),
        "bytes_source": setup.memory.source,
        "accelerator": accelerator,
        "partition_sha256": setup.header.partition_sha256,
    }


def recorded_active(record: dict[str, Any]) -> list[frozenset[int]]:
    """Active sets of an allocation.json."""
    return [frozenset(entry["blocks"]) for entry in record["clients"]]
