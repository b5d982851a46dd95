"""Who activates which blocks: solved from the settings, the fleet of a round and, if asked for, a probe."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import Allocation, AllocationProblem, allocate, allocate_simply, objectives
from zorba_ray.artifacts.allocation import BlockProbe
from zorba_ray.assignment.fleet import Client
from zorba_ray.assignment.problem import AssignmentInputs, problem_of
from zorba_ray.directions import uniforms
from zorba_ray.errors import AllocationInfeasible, ConfigError


@dataclass(frozen=True)
class Solved:
    """An allocation, and the question that it answers."""

    allocation: Allocation
    """Of the clients that are present, as `problem`."""
    problem: AllocationProblem
    fleet: Sequence[Client]
    probe: BlockProbe | None = None
    """What ω rests on, if a probe was made."""

    @property
    def active(self) -> ActiveSets:
        """Of every client of the federation; absent ones hold nothing."""
        matrix = np.zeros((len(self.fleet), self.problem.blocks), dtype=bool)
        matrix[[client.present for client in self.fleet]] = self.allocation.active.matrix
        return ActiveSets(matrix)


def solve(inputs: AssignmentInputs, fleet: Sequence[Client], probe: BlockProbe | None = None) -> Solved:
    """Who activates which blocks, by `allocation.algorithm`.

    Where activating costs no memory at all, without a fleet or because `auto` found room for everything, everybody
    activates everything.

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: budgets that cannot bind, and as `problem_of`.
    """
    settings, problem = inputs.config.allocation, problem_of(inputs, fleet, probe)
    if activation_is_free(inputs, fleet):
        found = _everything(inputs, fleet, problem)
    elif settings.algorithm == "lexicographic":
        found = allocate(problem, settings.time_limit_s, settings.gap)
    else:
        found = allocate_simply(problem, settings.algorithm, _draws(inputs, problem))
    return Solved(found, problem, fleet, probe)


def solve_quickly(inputs: AssignmentInputs, fleet: Sequence[Client]) -> Solved:
    """An allocation that keeps budgets and rules, without a claim to be good and with uniform ω: that there is one.

    Raises:
        AllocationInfeasible, ConfigError: as `solve`.
    """
    settings, problem = inputs.config.allocation, problem_of(inputs, fleet)
    try:
        found = allocate_simply(problem, "greedy", _draws(inputs, problem))
    except AllocationInfeasible:  # the heuristic may fail where the solver does not
        found = allocate(problem, settings.time_limit_s, settings.gap)
    return Solved(found, problem, fleet)


def as_it_is(inputs: AssignmentInputs, fleet: Sequence[Client], active: ActiveSets) -> Solved:
    """Active sets that are known and were not solved for: their figures, and nothing proven."""
    problem = problem_of(inputs, fleet)
    here = active.matrix[[client.present for client in fleet]]
    found = Allocation(
        active=ActiveSets(here),
        steps=(),
        f1=objectives.f1(here, problem),
        f2_bytes=objectives.f2_bytes(here, problem),
        worst_share=objectives.worst_share(here, problem),
        gap=float("inf"),
        solver="none: read from the ledger",
    )
    return Solved(found, problem, fleet)


def require_later_fleets(inputs: AssignmentInputs) -> None:
    """Whether there is an allocation after each change of the fleet, as far as can be told before the run.

    Raises:
        AllocationInfeasible, ConfigError: there is none from some round on, which is named.
    """
    for number in inputs.fleet.rounds[1:]:
        if not activation_is_free(inputs, inputs.fleet.at(number)):
            try:
                solve_quickly(inputs, inputs.fleet.at(number))
            except (AllocationInfeasible, ConfigError) as error:
                raise type(error)(f"federation.changes, from round {number} on: {error}") from error


def activation_is_free(inputs: AssignmentInputs, fleet: Sequence[Client]) -> bool:
    """Whether activating costs no memory: without a fleet, or because `auto` found room for everything."""
    if any(inputs.memory.of(client.budget).active_extra.any() for client in fleet if client.present):
        return False
    return inputs.config.federation.fleet is None or inputs.memory.chooses


def probe_decides(inputs: AssignmentInputs, fleet: Sequence[Client], epsilon: float | None = None) -> bool:
    """Whether the settings ask for a probe and what it says can change the allocation of this fleet.

    It cannot where activating costs nothing. Nor can it where convergence comes first, nothing of it may be given up,
    all directions are the clients' own, and everybody may hold everything and has room for it: then everybody does,
    whatever ω is.

    Args:
        epsilon: None is that of the settings.
    """
    if inputs.config.allocation.block_weights != "probe" or activation_is_free(inputs, fleet):
        return False
    problem = problem_of(inputs, fleet)
    gives_up_nothing = problem.order[0] == "convergence" and problem.beta == 0 and not (epsilon or problem.epsilon)
    allowed = bool((problem.most_blocks == problem.blocks).all()) and not problem.forbidden.any()
    return not (gives_up_nothing and allowed and (problem.active_bytes.sum(axis=1) <= problem.slack_bytes).all())


def _draws(inputs: AssignmentInputs, problem: AllocationProblem) -> np.ndarray:
    drawn = uniforms(inputs.config.seed, "allocation", 0, 0, problem.clients * problem.blocks)
    return drawn.reshape(problem.clients, problem.blocks)


def _everything(inputs: AssignmentInputs, fleet: Sequence[Client], problem: AllocationProblem) -> Allocation:
    may_hold = np.minimum(problem.most_blocks, (~problem.forbidden).sum(axis=1))
    for client in np.flatnonzero(may_hold < problem.blocks)[:1]:
        raise ConfigError(
            f"allocation.max_blocks or rules: {problem.client_names[client]} may hold {may_hold[client]} of "
            f"{problem.blocks} blocks. But with this memory policy an active block costs no more than a frozen one, so "
            "that everybody activates everything and there is nothing to optimise: set memory.frozen=host, or drop the "
            "rule"
        )
    return Allocation(
        active=ActiveSets.of_all(problem.clients, problem.blocks),
        steps=(),
        f1=1.0,
        f2_bytes=int(problem.base_bytes.sum()),
        worst_share=0.0,
        gap=0.0,
        solver="none needed: activation costs no memory",
    )
