"""What another format of frozen blocks would do for a fleet whose budgets have no allocation."""

from collections.abc import Sequence
from dataclasses import replace

from zorba_ray.allocation import AllocationProblem
from zorba_ray.allocation.feasibility import require_feasible
from zorba_ray.assignment.fleet import Client
from zorba_ray.assignment.problem import AssignmentInputs
from zorba_ray.errors import AllocationInfeasible
from zorba_ray.memory import FleetMemory

_CHANGES = (
    {"frozen_format": "int8"},
    {"frozen_format": "nf4"},
    {"frozen_format": "nf4", "stem_format": "int8"},
)
"""Settings of the section `memory`, in order: those that change values more come later."""


def other_formats(inputs: AssignmentInputs, fleet: Sequence[Client], problem: AllocationProblem) -> str:
    """One sentence per format that would leave room for more active blocks; empty if none does, or if no budgets are
    enough. The room is counted client by client, so that a format named here may still have no allocation.
    """
    memory = inputs.memory
    try:
        require_feasible(replace(problem, budget_bytes=problem.base_bytes + problem.active_bytes.sum(axis=1)))
    except AllocationInfeasible:
        return ""
    before, sentences = _rooms(memory, fleet), []
    for settings in _CHANGES:
        after = _rooms(memory.changed(settings), fleet)
        if sum(after) > sum(before) or min(after) > min(before):
            named = ", ".join(f"memory.{name}={value}" for name, value in settings.items())
            sentences.append(
                f"{named} would leave room for {sum(after)} active blocks in all, {min(after)} on the smallest client "
                f"({sum(before)} and {min(before)} now; {problem.blocks * problem.coverage} are needed)"
            )
            before = after
    return "; ".join(sentences)


def _rooms(memory: FleetMemory, fleet: Sequence[Client]) -> list[int]:
    """The most active blocks of every client that is present and has a budget."""
    return [memory.room(client.budget) for client in fleet if client.present and client.budget is not None]
