"""Who activates which blocks: solved from the settings, the fleet of a round and, if asked for, a probe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import Allocation, AllocationProblem, allocate, allocate_simply, objectives
from zorba_ray.directions import uniforms
from zorba_ray.errors import AllocationInfeasible, ConfigError
from zorba_ray.experiment.allocation_facts import allocation_facts
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.fleet import Client, allocation_problem, fleet_at, fleet_rounds
from zorba_ray.experiment.probe import Probe, probe_here
from zorba_ray.memory import ClientMemory, require_within
from zorba_ray.models import Placement


@dataclass(frozen=True)
class Solved:
    """An allocation, and what it answers."""

    allocation: Allocation
    """With a row for every client of the federation; absent ones hold nothing."""
    problem: AllocationProblem
    """Of the clients that are present, in id order."""
    fleet: Sequence[Client]
    probe: Probe | None = None
    """What ω rests on, if a probe was made."""


def solve_allocation(setup: Setup, fleet: Sequence[Client] | None = None, probe: Probe | None = None) -> Solved:
    """Who activates which blocks; absent clients none.

    Where activating costs no memory at all, without a fleet or because `auto` found room for everything, everybody
    activates everything.

    Args:
        fleet: None is that of round 1.
        probe: what ω rests on; None asks the clients, in this process, where that can change the deal.

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: budgets that cannot bind.
    """
    settings = setup.config.allocation
    fleet = setup.fleet if fleet is None else fleet
    if probe is None and probe_decides(setup, fleet):
        probe = probe_here(setup)
    problem = problem_of(setup, fleet, probe)
    if nothing_to_deal(setup, fleet):
        return Solved(_everything(setup, fleet, problem), problem, fleet, probe)
    if settings.algorithm == "lexicographic":
        found = allocate(problem, settings.time_limit_s, settings.gap)
    else:
        found = allocate_simply(problem, settings.algorithm, _draws(setup, problem))
    return Solved(_of_all(found, fleet), problem, fleet, probe)


def valued(setup: Setup, fleet: Sequence[Client], active: np.ndarray, probe: Probe | None) -> Solved:
    """An allocation that is known and not solved: its figures, and nothing proven.

    Args:
        active: bool [N, L], absent clients included.
    """
    problem = problem_of(setup, fleet, probe)
    here = active[[client.present for client in fleet]]
    found = Allocation(
        active=ActiveSets(active),
        steps=(),
        f1=objectives.f1(here, problem),
        f2_bytes=objectives.f2_bytes(here, problem),
        worst_share=objectives.worst_share(here, problem),
        gap=float("inf"),
        solver="none: read from the ledger",
    )
    return Solved(found, problem, fleet, probe)


def first_allocation(setup: Setup) -> Solved:
    """The allocation before anything is asked of a client: the solved one, or, where a probe comes first, a quick one
    with uniform weights that shows that there is one.

    Raises:
        AllocationInfeasible: now, or after a change of the fleet that `federation.changes` names.
        ConfigError: budgets that cannot bind.
    """
    for number in fleet_rounds(setup.config)[1:]:
        if not nothing_to_deal(setup, fleet_at(setup.config, number)):
            _require_later(setup, number)
    if probe_decides(setup, setup.fleet):
        return _provisional(setup, setup.fleet)
    return solve_allocation(setup)


def problem_of(setup: Setup, fleet: Sequence[Client], probe: Probe | None = None) -> AllocationProblem:
    """The problem of the clients that are present, in id order."""
    here = [client for client in fleet if client.present]
    samples = [setup.samples[client.id] for client in here]
    energies = probe.energies if probe else None
    return allocation_problem(setup.config, here, setup.memory, setup.model.replica.manifest, samples, energies)


def _require_later(setup: Setup, number: int) -> None:
    try:
        _provisional(setup, fleet_at(setup.config, number))
    except (AllocationInfeasible, ConfigError) as error:
        raise type(error)(f"federation.changes, from round {number} on: {error}") from error


def _provisional(setup: Setup, fleet: Sequence[Client]) -> Solved:
    problem = problem_of(setup, fleet)
    try:
        found = allocate_simply(problem, "greedy", _draws(setup, problem))
    except AllocationInfeasible:  # the heuristic may fail where the solver does not
        found = allocate(problem, setup.config.allocation.time_limit_s, setup.config.allocation.gap)
    return Solved(_of_all(found, fleet), problem, fleet)


def nothing_to_deal(setup: Setup, fleet: Sequence[Client]) -> bool:
    """Whether activating costs no memory: without a fleet, or because `auto` found room for everything."""
    if any(setup.memory.of(client.budget).active_extra.any() for client in fleet if client.present):
        return False
    return setup.config.federation.fleet is None or setup.memory.chooses


def probe_decides(setup: Setup, fleet: Sequence[Client], epsilon: float | None = None) -> bool:
    """Whether the settings ask for a probe and what it says can change the deal of this fleet.

    It cannot where activating costs nothing, or where convergence comes first, nothing of it may be given up, all
    directions are the clients' own, and everybody may hold everything and has room for it: then everybody does,
    whatever ω is.

    Args:
        epsilon: None is that of the settings.
    """
    settings = setup.config.allocation
    if settings.block_weights != "probe" or nothing_to_deal(setup, fleet):
        return False
    problem = problem_of(setup, fleet)
    gives_up_nothing = problem.order[0] == "convergence" and problem.beta == 0 and not (epsilon or problem.epsilon)
    free = bool((problem.most_blocks == problem.blocks).all()) and not problem.forbidden.any()
    return not (gives_up_nothing and free and (problem.active_bytes.sum(axis=1) <= problem.slack_bytes).all())


def _draws(setup: Setup, problem: AllocationProblem) -> np.ndarray:
    drawn = uniforms(setup.config.seed, "allocation", 0, 0, problem.clients * problem.blocks)
    return drawn.reshape(problem.clients, problem.blocks)


def _of_all(found: Allocation, fleet: Sequence[Client]) -> Allocation:
    """With a row for every client of the federation."""
    present = [client.present for client in fleet]
    active = np.zeros((len(fleet), found.active.blocks), dtype=bool)
    active[present] = found.active.matrix
    return replace(found, active=ActiveSets(active))


def _present(found: Allocation, fleet: Sequence[Client]) -> Allocation:
    """The inverse of `_of_all`: with the rows of the clients that are present."""
    return replace(found, active=ActiveSets(found.active.matrix[[client.present for client in fleet]]))


def _everything(setup: Setup, fleet: Sequence[Client], problem: AllocationProblem) -> Allocation:
    for client in np.flatnonzero((problem.most_blocks < problem.blocks) | problem.forbidden.any(axis=1))[:1]:
        raise ConfigError(
            f"allocation.max_blocks, limits or forbid: {problem.client_names[client]} may hold "
            f"{min(problem.most_blocks[client], (~problem.forbidden[client]).sum())} of {problem.blocks} blocks. But "
            "with this memory policy an active block costs no more than a frozen one, so that everybody activates "
            "everything and there is nothing to optimise: set memory.frozen=host, or drop the rule"
        )
    present = np.array([client.present for client in fleet])
    total = sum(setup.memory.of(client.budget).base for client in fleet if client.present)
    return Allocation(
        active=ActiveSets(np.repeat(present[:, None], setup.header.blocks, axis=1)),
        steps=(),
        f1=1.0,
        f2_bytes=total,
        worst_share=0.0,
        gap=0.0,
        solver="none needed: activation costs no memory",
    )


def allocation_record(
    setup: Setup,
    solved: Solved,
    accelerator: str,
) -> dict[str, Any]:
    """allocation.json: who holds what, what it costs, what was proven, and what ω rests on if a probe was made.

    Raises:
        BudgetExceeded: a client would hold more than its budget.
    """
    manifest = setup.model.replica.manifest
    allocation, fleet, probe = solved.allocation, solved.fleet, solved.probe
    clients: list[dict[str, Any]] = []
    placements: dict[Placement, ClientMemory] = {}
    for client, samples in zip(fleet, setup.samples, strict=True):
        blocks = sorted(allocation.active.of(client.id))
        memory, placement = setup.memory.of(client.budget), setup.memory.placement(client.budget)
        placements[placement] = memory
        require_within(client.label, client.budget, memory, frozenset(blocks))
        clients.append(
            {
                "client": client.id,
                "class": client.kind,
                "examples": samples,
                "budget_bytes": client.budget,
                "bytes": memory.bytes_of(frozenset(blocks)) if client.present else 0,
                "blocks": blocks,
                "present": client.present,
                "frozen": placement.frozen,
                "master": placement.master,
            }
        )
    record = allocation.to_dict()
    roomy = setup.memory.of(None)
    return {
        "clients": clients,
        "blocks": setup.header.blocks,
        "block_parameters": manifest.sizes(),
        "block_parameters_in_scope": manifest.sizes(setup.config.zo.fixed_scope),
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
        # JSON knows no infinity: no number where some block is active nowhere.
        "f1": record["f1"] if record["f1"] < float("inf") else None,
        **{key: record[key] for key in ("f2_bytes", "worst_share", "gap", "solver", "steps")},
        "vram_objective": setup.config.allocation.vram,
        "weights": setup.config.federation.weights,
        **allocation_facts(setup, _present(allocation, fleet), solved.problem, probe.energies if probe else None),
        "bytes_all_active": roomy.bytes_of(frozenset(range(manifest.blocks))),
        "bytes_source": roomy.source,
        "accelerator": accelerator,
        "partition_sha256": setup.header.partition_sha256,
        "probe": None if probe is None else probe.record(),
    }
