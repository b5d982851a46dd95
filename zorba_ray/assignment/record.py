"""Turns an allocation into the record of allocation.json: clients, bytes, proven bounds, variance."""

import math
from typing import Any

import msgspec
import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, smallest_budgets
from zorba_ray.allocation.front import Front, Proven, proven
from zorba_ray.artifacts.allocation import (
    AllocationRecord,
    AssignedClient,
    Assignment,
    ExactVariance,
    PlacementBytes,
    ProvenObjective,
    SolverStep,
)
from zorba_ray.assignment.fleet import Client
from zorba_ray.assignment.problem import AssignmentInputs, energies_of
from zorba_ray.assignment.solve import Solved
from zorba_ray.assignment.variance import WEIGHTINGS, exact_variance
from zorba_ray.memory import require_within


def allocation_record(inputs: AssignmentInputs, solved: Solved) -> AllocationRecord:
    """The record of an allocation that no run has used yet.

    Raises:
        BudgetExceeded: a client would hold more than its budget.
    """
    allocation, probe, header = solved.allocation, solved.probe, inputs.header
    active, unlimited = solved.active, inputs.memory.of(None)
    for client in (client for client in solved.fleet if client.present):
        require_within(client.label, client.budget, inputs.memory.of(client.budget), active.of(client.id))
    placements = {inputs.memory.placement(client.budget): client.budget for client in solved.fleet}
    return AllocationRecord(
        clients=tuple(_client(inputs, client, active) for client in solved.fleet),
        blocks=header.blocks,
        block_parameters=tuple(inputs.manifest.sizes()),
        block_parameters_in_scope=tuple(inputs.manifest.sizes(inputs.config.zo.fixed_scope)),
        placements=tuple(
            PlacementBytes(
                frozen=where.frozen,
                master=where.master,
                format=where.format,
                parts=memory.parts,
                active_extra_bytes=tuple(memory.active_extra.tolist()),
            )
            for where, memory in ((where, inputs.memory.of(budget)) for where, budget in placements.items())
        ),
        memory_parts=unlimited.parts,
        active_extra_bytes=tuple(unlimited.active_extra.tolist()),
        epsilon=inputs.config.allocation.epsilon,
        f1=_finite(allocation.f1),
        f2_bytes=allocation.f2_bytes,
        worst_share=allocation.worst_share,
        gap=_finite(allocation.gap),
        solver=allocation.solver,
        steps=tuple(msgspec.convert(vars(step), SolverStep) for step in allocation.steps),
        vram_objective=inputs.config.allocation.vram,
        weights=inputs.config.federation.weights,
        objectives=tuple(_known(entry) for entry in proven(solved.problem, solved.allocation)),
        exact_variance=_variance(inputs, solved),
        bytes_all_active=unlimited.bytes_of(frozenset(range(header.blocks))),
        bytes_source=unlimited.source,
        accelerator=inputs.accelerator,
        partition_sha256=header.partition_sha256,
        probe=probe,
    )


def with_assignment(
    inputs: AssignmentInputs, record: AllocationRecord, number: int, reason: str, active: ActiveSets
) -> AllocationRecord:
    """The record with one more assignment, in force from round `number` on."""
    earlier = [assignment for assignment in record.assignments if assignment.round < number]
    before = earlier[-1].active if earlier else active
    changed = int(active.changed(before).sum())
    added = Assignment(
        round=number,
        reason=reason,
        f1=record.f1,
        f2_bytes=record.f2_bytes,
        gap=record.gap,
        solver=record.solver,
        clients_changed=changed,
        active=active,
    )
    clients = tuple(_client(inputs, client, active) for client in inputs.fleet.at(number))
    return msgspec.structs.replace(record, clients=clients, assignments=(*earlier, added))


def front_record(inputs: AssignmentInputs, solved: Solved, front: Front) -> dict[str, Any]:
    """The content of front.json: the points, each with bounds, gaps and the exact variance."""
    points = []
    for point in front.points:
        answer = point.allocation
        points.append(
            {
                "epsilon": point.epsilon,
                "objectives": [msgspec.to_builtins(_known(entry)) for entry in point.proven],
                "statuses": sorted({step.status for step in answer.steps}),
                "f1": answer.f1,
                "f2_bytes": answer.f2_bytes,
                "worst_share": answer.worst_share,
                "exact_variance": _variances(inputs, solved, answer.active),
            }
        )
    return {"points": points, "left_out": [vars(entry).copy() for entry in front.omitted], "solved": front.solved}


def what_if_record(problem: AllocationProblem) -> dict[str, Any]:
    """The content of what_if.json: the budgets that must be raised, or one factor for all budgets.

    Raises:
        AllocationInfeasible: no budgets are enough.
    """
    answer = smallest_budgets(problem)
    clients = [
        {"client": n, "name": problem.client_names[n], "budget_bytes": int(budget), "needed_bytes": int(needed)}
        for n, (budget, needed) in enumerate(zip(problem.budget_bytes, answer.budget_bytes, strict=True))
        if needed > budget
    ]
    return {
        "feasible": answer.feasible,
        "missing_bytes": answer.missing_bytes,
        "factor": answer.factor,
        "proven": answer.proven,
        "clients": clients,
    }


def _client(inputs: AssignmentInputs, client: Client, active: ActiveSets) -> AssignedClient:
    blocks, placement = active.of(client.id), inputs.memory.placement(client.budget)
    return AssignedClient(
        client=client.id,
        kind=client.kind,
        examples=inputs.samples[client.id],
        budget_bytes=client.budget,
        bytes=inputs.memory.of(client.budget).bytes_of(blocks) if client.present else 0,
        blocks=tuple(sorted(blocks)),
        present=client.present,
        frozen=placement.frozen,
        master=placement.master,
        format=placement.format,
    )


def _variance(inputs: AssignmentInputs, solved: Solved) -> ExactVariance:
    active = solved.allocation.active
    variances = _variances(inputs, solved, active)
    everything = _variances(inputs, solved, ActiveSets.of_all(active.clients, active.blocks))
    energies = "uniform" if solved.probe is None else "measured"
    return ExactVariance(**variances, all_active=everything, energies=energies)


def _variances(inputs: AssignmentInputs, solved: Solved, active: ActiveSets) -> dict[str, float]:
    """Weighting -> the exact variance of one round's update, for which f1 is a surrogate (algorithm.md section 5).

    With a probe, the gradient of a client in block c has the mean energy g_c² + ζ_c² (1 − Σ p_n²). Without one all
    blocks have the same energy, with a sum of 1. `active` has the clients of the problem.
    """
    energies = energies_of(solved.probe)
    samples = np.array([inputs.samples[client.id] for client in solved.fleet if client.present], dtype=np.float64)
    share = samples / samples.sum()
    if energies is None:
        block_energy = np.full(active.blocks, 1.0 / active.blocks)
    else:
        spread = energies.dissimilarity * (1.0 - float((share**2).sum()))
        block_energy = energies.energy + spread + energies.noise
    sizes = np.array(inputs.manifest.sizes(inputs.config.zo.fixed_scope), dtype=np.int64)
    directions = inputs.config.zo.directions
    return {
        weighting: exact_variance(active.matrix, share, weighting, sizes, directions, block_energy)
        for weighting in WEIGHTINGS
    }


def _known(entry: Proven) -> ProvenObjective:
    figures = {name: _finite(getattr(entry, name)) for name in ("value", "bound", "gap", "best")}
    return ProvenObjective(objective=entry.objective, **figures)


def _finite(number: float) -> float | None:
    """The number, or None for infinity, which JSON does not have."""
    return number if math.isfinite(number) else None
