"""One minimisation, end to end: program, HiGHS, rounding, exact evaluation, repair.

The solver works within tolerances; what is kept here is exact. An answer that breaks a budget or the byte cap by a few
bytes is cut off by a cover cut, one that breaks the f1 cap is answered by a tighter cap, missing chords are added, and
the program is solved again. Source: algorithm.md section 7 (ours).
"""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zorba_ray.allocation import greedy, highs, objectives
from zorba_ray.allocation.cap import Cap, within_share
from zorba_ray.allocation.check import check
from zorba_ray.allocation.classes import merge
from zorba_ray.allocation.problem import AllocationProblem, Objective
from zorba_ray.allocation.pyomo_model import AllocationModel

# A gap of exactly 0 is never proven in floating point: this close counts as closed.
GAP_SLACK = 1e-6
# Solver runs after which a step stops repairing; seen: at most 3.
MAX_RUNS = 20
# Part of the remaining time one run may take while chords are missing, so that a run is left to repair with.
LAZY_SHARE = 0.6


@dataclass(frozen=True)
class StepAnswer:
    """What a step ends with. `active` is the best matrix known, the start included; None when there is none."""

    active: np.ndarray | None
    bound: float
    """Proven lower bound of the objective in natural units (f1, bytes, share); −inf when the solver proved none."""
    status: Literal["optimal", "limit", "infeasible"]
    solver_found: bool
    """Whether the solver itself produced a feasible point."""


def relative_gap(value: float, bound: float) -> float:
    """(value − bound) / value for value > 0, never negative; infinite without a bound or a value."""
    if not np.isfinite(value) or not np.isfinite(bound):
        return float("inf")
    return max(0.0, (value - bound) / value)


def minimise(
    problem: AllocationProblem,
    objective: Objective,
    cap: Cap | None,
    start: np.ndarray | None,
    gap: float,
    deadline: float,
) -> StepAnswer:
    """Minimise `objective` under the problem's constraints and `cap`, until `deadline` (of time.monotonic).

    `start` [N, L] bool must be valid and keep the cap; the answer is never worse than it.
    """
    narrowed = within_share(problem, cap)
    model = AllocationModel(narrowed, merge(narrowed), objective, cap)
    if start is not None:
        model.add_chords_at(objectives.holders(start), reach=2)
    _add_chords_by_relaxation(model, gap, deadline)

    best, bound, bound_is_open, found = start, float("-inf"), True, False
    for _ in range(MAX_RUNS):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if best is not None:
            model.suggest(best)
        limit = left * LAZY_SHARE if model.is_lazy else left
        run = highs.run(model.pyomo, limit, gap, start=best is not None)
        if run.status == "infeasible":
            return StepAnswer(best, bound, "infeasible" if best is None else "limit", found)
        if bound_is_open:
            bound = max(bound, run.bound * model.unit)
        if not run.found:
            break
        new_chords = model.add_violated_chords()
        active = answered = model.point()
        cuts = _forbid_overfull(model, active)
        broken_cap = 0.0
        if cuts == 0:
            broken_cap = _over_cap(active, problem, cap)
            active = _mend(active, narrowed, cap) if broken_cap > 0 else active
            if check(narrowed, active) == [] and (cap is None or cap.holds(active, problem)):
                found = True
                best = _better(objective, problem, active, best)
        if best is not None and relative_gap(objectives.value(objective, best, problem), bound) <= gap + GAP_SLACK:
            return StepAnswer(best, bound, "optimal", found)
        if new_chords + cuts > 0:
            continue
        if broken_cap == 0:
            break
        # The cap was broken within the solver's tolerance. Too many bytes: exactly these entries are out (and all that
        # hold more). Too large an f1: a tighter row, which may cut off true points, so no new bound from here on.
        if not (cap is not None and cap.objective == "vram" and model.forbid(answered)):
            model.tighten_cap(2 * broken_cap)
            bound_is_open = False
    return StepAnswer(best, bound, "limit", found)


def _add_chords_by_relaxation(model: AllocationModel, gap: float, deadline: float) -> None:
    """Chords the linear relaxation asks for, until it asks for none: cheap, and close to what the integers need."""
    while model.is_lazy and (left := deadline - time.monotonic()) > 0:
        run = highs.run(model.pyomo, left * LAZY_SHARE, gap, relax=True)
        if not run.found or model.add_violated_chords() == 0:
            return


def _forbid_overfull(model: AllocationModel, active: np.ndarray) -> int:
    """A cover cut for every single client whose blocks, in exact bytes, are over its budget. Returns how many."""
    problem = model.problem
    over = np.flatnonzero(objectives.client_bytes(active, problem) > problem.budget_bytes)
    for client in over.tolist():
        only = np.zeros_like(active)
        only[client] = active[client]
        cut = model.forbid(only)
        assert cut, "a merged group's capacity is exact, so its members are never over budget"
    return len(over)


def _over_cap(active: np.ndarray, problem: AllocationProblem, cap: Cap | None) -> float:
    """By how much the matrix is over the cap; 0 when it keeps it."""
    if cap is None or cap.holds(active, problem):
        return 0.0
    return objectives.value(cap.objective, active, problem) - cap.limit


def _mend(active: np.ndarray, problem: AllocationProblem, cap: Cap | None) -> np.ndarray:
    """Where f1 is over its cap (missing chords flatter it), add blocks until it is not, if budgets allow."""
    if cap is None or cap.objective != "convergence":
        return active
    return greedy.fill(problem, active, f1_cap=cap.limit)


def _better(
    objective: Objective, problem: AllocationProblem, active: np.ndarray, best: np.ndarray | None
) -> np.ndarray:
    if best is None:
        return active
    # Ties keep the earlier point, so that a step never moves without a reason.
    gained = objectives.value(objective, active, problem) < objectives.value(objective, best, problem)
    return active if gained else best
