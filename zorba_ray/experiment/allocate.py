"""Who activates which blocks: solved from the settings, the fleet of a round and, if asked for, a probe."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zorba_ray.allocation import Allocation, AllocationProblem, allocate, allocate_simply
from zorba_ray.directions import uniforms
from zorba_ray.errors import AllocationInfeasible, ConfigError
from zorba_ray.experiment.allocation_facts import allocation_facts
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.fleet import Client, allocation_problem, fleet_at, fleet_rounds
from zorba_ray.experiment.probe import Probe, probe_here
from zorba_ray.zo import BlockEnergies


def solve_allocation(setup: Setup, fleet: Sequence[Client] | None = None, probe: Probe | None = None) -> Allocation:
    """Who activates which blocks; absent clients none.

    Without a fleet, where activating costs no memory at all, everybody activates everything (or the last
    `allocation.max_blocks` blocks).

    Args:
        fleet: None is that of round 1.
        probe: with block_weights: probe, what ω rests on; None asks the clients, in this process.

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: budgets that cannot bind.
    """
    settings = setup.config.allocation
    fleet = setup.fleet if fleet is None else fleet
    if _free(setup):
        return _everything(setup, fleet)
    if settings.block_weights == "probe" and probe is None:
        probe = probe_here(setup)
    problem = problem_of(setup, fleet, probe.energies if probe else None)
    if settings.algorithm == "lexicographic":
        found = allocate(problem, settings.time_limit_s, settings.gap)
    else:
        found = allocate_simply(problem, settings.algorithm, _draws(setup, problem))
    return _of_all(found, fleet)


def first_allocation(setup: Setup) -> Allocation:
    """The allocation before anything is asked of a client: the solved one, or, where a probe comes first, a quick one
    with uniform weights that shows that there is one.

    Raises:
        AllocationInfeasible: now, or after a change of the fleet that `federation.changes` names.
        ConfigError: budgets that cannot bind.
    """
    for number in fleet_rounds(setup.config)[1:]:
        if not _free(setup):
            _require_later(setup, number)
    if setup.config.allocation.block_weights != "probe" or _free(setup):
        return solve_allocation(setup)
    return _provisional(setup, setup.fleet)


def problem_of(setup: Setup, fleet: Sequence[Client], energies: BlockEnergies | None = None) -> AllocationProblem:
    """The problem of the clients that are present, in id order."""
    here = [client for client in fleet if client.present]
    samples = [setup.samples[client.id] for client in here]
    return allocation_problem(setup.config, here, setup.memory, setup.model.replica.manifest, samples, energies)


def _require_later(setup: Setup, number: int) -> None:
    try:
        _provisional(setup, fleet_at(setup.config, number))
    except (AllocationInfeasible, ConfigError) as error:
        raise type(error)(f"federation.changes, from round {number} on: {error}") from error


def _provisional(setup: Setup, fleet: Sequence[Client]) -> Allocation:
    problem = problem_of(setup, fleet)
    try:
        found = allocate_simply(problem, "greedy", _draws(setup, problem))
    except AllocationInfeasible:  # the heuristic may fail where the solver does not
        found = allocate(problem, setup.config.allocation.time_limit_s, setup.config.allocation.gap)
    return _of_all(found, fleet)


def _free(setup: Setup) -> bool:
    return setup.config.federation.fleet is None and not setup.memory.active_extra.any()


def _draws(setup: Setup, problem: AllocationProblem) -> np.ndarray:
    drawn = uniforms(setup.config.seed, "allocation", 0, 0, problem.clients * problem.blocks)
    return drawn.reshape(problem.clients, problem.blocks)


def _of_all(found: Allocation, fleet: Sequence[Client]) -> Allocation:
    """With a row for every client of the federation."""
    present = [client.present for client in fleet]
    active = np.zeros((len(fleet), found.active.shape[1]), dtype=bool)
    active[present] = found.active
    return replace(found, active=active)


def _present(found: Allocation, fleet: Sequence[Client]) -> Allocation:
    """The inverse of `_of_all`: with the rows of the clients that are present."""
    return replace(found, active=found.active[[client.present for client in fleet]])


def _everything(setup: Setup, fleet: Sequence[Client]) -> Allocation:
    if setup.config.allocation.max_blocks is not None:
        raise ConfigError(
            "allocation.max_blocks is set, but with this memory policy an active block costs no more "
            "than a frozen one and "
            "there is nothing to optimise: set memory.frozen=host, or drop allocation.max_blocks"
        )
    present = np.array([client.present for client in fleet])
    return Allocation(
        active=np.repeat(present[:, None], setup.header.blocks, axis=1),
        steps=(),
        f1=1.0,
        f2_bytes=int(present.sum()) * setup.memory.base,
        worst_share=0.0,
        gap=0.0,
        solver="none needed: activation costs no memory",
    )


def allocation_record(
    setup: Setup,
    allocation: Allocation,
    accelerator: str,
    fleet: Sequence[Client] | None = None,
    probe: Probe | None = None,
) -> dict[str, Any]:
    """allocation.json: who holds what, what it costs, what was proven, and what ω rests on if a probe was made.

    Args:
        fleet: as it was when the allocation was solved; None is that of round 1.
    """
    manifest = setup.model.replica.manifest
    fleet, energies = setup.fleet if fleet is None else fleet, probe.energies if probe else None
    clients = []
    for client, samples in zip(fleet, setup.samples, strict=True):
        blocks = allocation.blocks_of(client.id)
        clients.append(
            {
                "client": client.id,
                "class": client.kind,
                "examples": samples,
                "budget_bytes": client.budget,
                "bytes": setup.memory.bytes_of(frozenset(blocks)) if client.present else 0,
                "blocks": list(blocks),
                "present": client.present,
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
        # JSON knows no infinity: no number where some block is active nowhere.
        "f1": record["f1"] if record["f1"] < float("inf") else None,
        **{key: record[key] for key in ("f2_bytes", "worst_share", "gap", "solver", "steps")},
        "vram_objective": setup.config.allocation.vram,
        "weights": setup.config.federation.weights,
        **allocation_facts(setup, _present(allocation, fleet), problem_of(setup, fleet, energies), energies),
        "bytes_all_active": setup.memory.bytes_of(frozenset(range(manifest.blocks))),
        "bytes_source": setup.memory.source,
        "accelerator": accelerator,
        "partition_sha256": setup.header.partition_sha256,
        "probe": None if probe is None else probe.record(),
    }


def recorded_active(record: dict[str, Any]) -> list[frozenset[int]]:
    """Active sets of an allocation.json."""
    return [frozenset(entry["blocks"]) for entry in record["clients"]]
