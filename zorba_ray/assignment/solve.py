"""Solves the allocation for the settings, the fleet of a round and, if there is one, a probe."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import Allocation, AllocationProblem, allocate, allocate_simply, objectives
from zorba_ray.artifacts.allocation import BlockProbe
from zorba_ray.assignment.fleet import Client
from zorba_ray.assignment.other_formats import other_formats
from zorba_ray.assignment.problem import AssignmentInputs, problem_of
from zorba_ray.directions import uniforms
from zorba_ray.errors import AllocationInfeasible, ConfigError


@dataclass(frozen=True)
class Solved:
    """An allocation together with its problem."""

    allocation: Allocation
    """Of the clients that are present, like `problem`."""
    problem: AllocationProblem
    fleet: Sequence[Client]
    probe: BlockProbe | None = None
    """The probe from which ω was computed, if there was one."""

    @property
    def active(self) -> ActiveSets:
        """The sets of every client of the federation; those of absent clients are empty."""
        matrix = np.zeros((len(self.fleet), self.problem.blocks), dtype=bool)
        matrix[[client.present for client in self.fleet]] = self.allocation.active.matrix
        return ActiveSets(matrix)


def solve(inputs: AssignmentInputs, fleet: Sequence[Client], probe: BlockProbe | None = None) -> Solved:
    """Decides which client activates which blocks, by `allocation.algorithm`.

    If active blocks cost no memory (`activation_is_free`), every client activates all blocks.

    Raises:
        AllocationInfeasible: names client, constraint and missing bytes.
        ConfigError: as `problem_of`, or a rule that forbids blocks although active blocks cost no memory.
    """
    settings, problem = inputs.config.allocation, problem_of(inputs, fleet, probe)
    if activation_is_free(inputs, fleet):
        return Solved(_everything(inputs, fleet, problem), problem, fleet, probe)
    with _advising(inputs, fleet, problem):
        if settings.algorithm == "lexicographic":
            allocation = allocate(problem, settings.time_limit_s, settings.gap)
        else:
            allocation = allocate_simply(problem, settings.algorithm, _draws(inputs, problem))
    return Solved(allocation, problem, fleet, probe)


@contextlib.contextmanager
def _advising(inputs: AssignmentInputs, fleet: Sequence[Client], problem: AllocationProblem) -> Iterator[None]:
    """A context in which the error of a fleet without an allocation also says what other formats would do."""
    try:
        yield
    except AllocationInfeasible as error:
        advice = other_formats(inputs, fleet, problem)
        if not advice:
            raise
        raise AllocationInfeasible(f"{error}. {advice}") from error


def solve_quickly(inputs: AssignmentInputs, fleet: Sequence[Client]) -> Solved:
    """An allocation that keeps budgets and rules. It shows that there is one, and need not be good. ω is uniform.

    Raises:
        AllocationInfeasible, ConfigError: as `solve`.
    """
    settings, problem = inputs.config.allocation, problem_of(inputs, fleet)
    try:
        allocation = allocate_simply(problem, "greedy", _draws(inputs, problem))
    except AllocationInfeasible:  # the heuristic may fail where the solver does not
        with _advising(inputs, fleet, problem):
            allocation = allocate(problem, settings.time_limit_s, settings.gap)
    return Solved(allocation, problem, fleet)


def as_it_is(inputs: AssignmentInputs, fleet: Sequence[Client], active: ActiveSets) -> Solved:
    """Known active sets as a `Solved`, with their figures; nothing is proven about them."""
    problem = problem_of(inputs, fleet)
    matrix = active.matrix[[client.present for client in fleet]]
    allocation = Allocation(
        active=ActiveSets(matrix),
        steps=(),
        f1=objectives.f1(matrix, problem),
        f2_bytes=objectives.f2_bytes(matrix, problem),
        worst_share=objectives.worst_share(matrix, problem),
        gap=float("inf"),
        solver="none: read from the ledger",
    )
    return Solved(allocation, problem, fleet)


def require_later_fleets(inputs: AssignmentInputs) -> None:
    """Checks before the run that there is an allocation after each change of the fleet.

    Raises:
        AllocationInfeasible, ConfigError: there is none; names the round from which on.
    """
    for number in inputs.fleet.rounds[1:]:
        if not activation_is_free(inputs, inputs.fleet.at(number)):
            try:
                solve_quickly(inputs, inputs.fleet.at(number))
            except (AllocationInfeasible, ConfigError) as error:
                raise type(error)(f"federation.changes, from round {number} on: {error}") from error


def activation_is_free(inputs: AssignmentInputs, fleet: Sequence[Client]) -> bool:
    """Whether active blocks cost no memory: there are no budgets, or with `auto` all blocks fit on the accelerator."""
    if any(inputs.memory.of(client.budget).active_extra.any() for client in fleet if client.present):
        return False
    return inputs.config.federation.fleet is None or inputs.memory.chooses


def probe_decides(inputs: AssignmentInputs, fleet: Sequence[Client], epsilon: float | None = None) -> bool:
    """Whether the settings ask for a probe, and a probe can change the allocation of this fleet.

    It cannot if active blocks cost no memory. It also cannot if every client will hold all blocks for any ω:
    convergence is the first objective, ε = 0, every client has its own directions, and all blocks are allowed and fit
    everywhere.

    Args:
        epsilon: ε; None: that of the settings.
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
            f"{problem.blocks} blocks. But with these memory settings an active block costs no more than a frozen one, "
            "so every client activates all blocks and there is nothing to optimise: set memory.frozen=host, or drop "
            "the rule"
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
