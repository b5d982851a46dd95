"""One minimisation, end to end: local search, Lagrangian bound, program, HiGHS, rounding, exact evaluation, repair.

The solver works within tolerances; what is kept here is exact. An answer that breaks a budget or the byte cap by a few
bytes is cut off by a cover cut, one that breaks another cap is answered by a tighter cap, missing chords are added, and
the program is solved again. Source: algorithm.md section 7 (ours).
"""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zorba_ray.allocation import greedy, highs, objectives
from zorba_ray.allocation.cap import Cap, Caps, within_share
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.dual import dual_bound
from zorba_ray.allocation.improve import descend, improve
from zorba_ray.allocation.problem import Objective
from zorba_ray.allocation.pyomo_model import AllocationModel

# A gap of exactly 0 is never proven in floating point: this close counts as closed.
GAP_SLACK = 1e-6
# Solver runs after which a step stops repairing; seen: at most 3.
MAX_RUNS = 20
# Part of the remaining time one run may take while chords are missing, so that a run is left to repair with.
LAZY_SHARE = 0.6
# Part of the remaining time that local search and bound may take, so that the solver is left with the rest.
SEARCH_SHARE = 0.4


@dataclass(frozen=True)
class StepAnswer:
    """What a step ends with. `counts` [G, L] are the best known, the start included; None when there are none."""

    counts: np.ndarray | None
    bound: float
    """Proven lower bound of the objective in natural units (f1, bytes, share, seconds); −inf when none was proven."""
    status: Literal["optimal", "limit", "infeasible"]
    solver_found: bool
    """Whether the solver itself produced a feasible point."""


def is_valid(problem: Merged, counts: np.ndarray) -> bool:
    """Whether the counts keep every constraint but the caps, in exact bytes."""
    held, total = counts.sum(axis=0), counts.sum(axis=1)
    used = objectives.active_bytes_of(counts, problem)
    fits = np.where(problem.equal, total <= problem.size * problem.capacity, used <= problem.room_bytes)
    return bool(
        (counts >= problem.size[:, None] * problem.required).all()
        and (counts <= problem.size[:, None] * ~problem.forbidden).all()
        and (held >= problem.coverage).all()
        and fits.all()
        and (total <= problem.size * problem.capacity).all()
        and (total >= problem.size * problem.least).all()
    )


def minimise(
    problem: Merged,
    objective: Objective,
    caps: Caps,
    start: np.ndarray | None,
    gap: float,
    deadline: float,
) -> StepAnswer:
    """Minimise `objective` under the problem's constraints and `caps`, until `deadline` (of time.monotonic).

    `start` [G, L] must be valid and keep the caps; the answer is never worse than it.
    """
    narrowed = within_share(problem, caps)
    best, bound = start, float("-inf")
    # Caps on other sums couple the clients once more: seen, there the program alone is faster and closer.
    if objective == "convergence" and start is not None and all(cap.is_in_budgets(problem) for cap in caps):
        best, bound = _search(narrowed, start, gap, deadline)
        if _is_proven(objective, problem, best, bound, gap):
            return StepAnswer(best, bound, "optimal", False)
    return _solve(problem, narrowed, objective, caps, best, bound, gap, deadline)


def _search(problem: Merged, start: np.ndarray, gap: float, deadline: float) -> tuple[np.ndarray, float]:
    """Counts with a smaller f1 by local search, and the Lagrangian bound of f1."""
    began = time.monotonic()
    if began >= deadline:
        return start, float("-inf")
    until = began + SEARCH_SHARE * (deadline - began)
    best = descend(problem, start, until)
    bound = dual_bound(problem, best, gap, until)
    # On from there, as far as the bound says that there can be something to find.
    return improve(problem, best, bound / (1 - gap) * (1 + GAP_SLACK), until), bound


def _solve(
    problem: Merged,
    narrowed: Merged,
    objective: Objective,
    caps: Caps,
    start: np.ndarray | None,
    known: float,
    gap: float,
    deadline: float,
) -> StepAnswer:
    """The program and its repairs; `known` is a bound proven before."""
    best, bound, bound_is_open, found = start, known, True, False
    if time.monotonic() >= deadline:
        return StepAnswer(best, bound, "limit", False)
    model = AllocationModel(narrowed, objective, caps)
    if start is not None:
        model.add_chords_at(start.sum(axis=0))
    if start is None or not problem.equal.all():
        # Where all blocks are equal, whole programs are as cheap as relaxed ones, and the start is near the optimum.
        _add_chords_by_relaxation(model, gap, deadline)
    target = (bound - model.unavoidable) / (1 - gap) / model.unit if np.isfinite(bound) else None
    for _ in range(MAX_RUNS):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if best is not None:
            model.suggest(best)
        limit = left * LAZY_SHARE if model.is_lazy else left
        run = highs.run(model.pyomo, limit, gap, start=best is not None, target=target)
        if run.status == "infeasible":
            return StepAnswer(best, bound, "infeasible" if best is None else "limit", found)
        if bound_is_open:
            bound = max(bound, model.unavoidable + run.bound * model.unit)
        if not run.found:
            break
        new_chords = model.add_violated_chords()
        counts = answered = model.counts()
        cuts = _forbid_overfull(model, counts)
        broken: list[tuple[Cap, float]] = []
        if cuts == 0:
            broken = [(cap, over) for cap in caps if (over := cap.over(counts, problem)) > 0]
            counts = _mend(counts, narrowed, broken)
            if is_valid(narrowed, counts) and all(cap.holds(counts, problem) for cap in caps):
                found = True
                best = _better(objective, problem, counts, best)
        if best is not None and _is_proven(objective, problem, best, bound, gap):
            return StepAnswer(best, bound, "optimal", found)
        if new_chords + cuts > 0:
            continue
        if not broken:
            break
        # The cap was broken within the solver's tolerance. Too many bytes: exactly these entries are out (and all that
        # hold more). Otherwise a tighter row, which may cut off true points, so no new bound from here on.
        cap, over = broken[0]
        if not (cap.objective == "vram" and model.forbid(answered)):
            model.tighten(cap, 2 * over)
            bound_is_open = False
    return StepAnswer(best, bound, "limit", found)


def _is_proven(objective: Objective, problem: Merged, counts: np.ndarray, bound: float, gap: float) -> bool:
    value = objectives.value(objective, counts, problem)
    return objectives.relative_gap(objective, value, bound, problem) <= gap + GAP_SLACK


def _add_chords_by_relaxation(model: AllocationModel, gap: float, deadline: float) -> None:
    """Chords the linear relaxation asks for, until it asks for none: cheap, and close to what the integers need."""
    while model.is_lazy and (left := deadline - time.monotonic()) > 0:
        run = highs.run(model.pyomo, left * LAZY_SHARE, gap, relax=True)
        if not run.found or model.add_violated_chords() == 0:
            return


def _forbid_overfull(model: AllocationModel, counts: np.ndarray) -> int:
    """A cover cut for every single client whose blocks, in exact bytes, are over its budget. Returns how many."""
    problem = model.problem
    used = objectives.active_bytes_of(counts, problem)
    over = np.flatnonzero(~problem.equal & (used > problem.room_bytes))
    for row in over.tolist():
        only = np.zeros_like(counts)
        only[row] = counts[row]
        model.forbid(only)
    return len(over)


def _mend(counts: np.ndarray, problem: Merged, broken: list[tuple[Cap, float]]) -> np.ndarray:
    """Where f1 is over its cap (missing chords flatter it), add blocks until it is not, if budgets allow."""
    for cap, _ in broken:
        if cap.objective == "convergence" and is_valid(problem, counts):
            return greedy.fill(problem, counts, f1_cap=cap.limit)
    return counts


def _better(objective: Objective, problem: Merged, counts: np.ndarray, best: np.ndarray | None) -> np.ndarray:
    if best is None:
        return counts
    # Ties keep the earlier point, so that a step never moves without a reason.
    gained = objectives.value(objective, counts, problem) < objectives.value(objective, best, problem)
    return counts if gained else best
