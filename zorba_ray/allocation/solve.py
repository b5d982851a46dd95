"""One minimisation: builds the program, solves it with HiGHS, rounds, evaluates exactly, and repairs.

The solver works within tolerances; the result here is exact. If an answer exceeds a budget or the byte cap by a few
bytes, a cover cut excludes it. If it exceeds another cap, that cap is made tighter. Missing chords are added. Then the
program is solved again. Source: docs/algorithm.md section 7 (ours).
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import Groups
from zorba_ray.allocation.objectives import Caps
from zorba_ray.allocation.problem import Objective

if TYPE_CHECKING:
    from zorba_ray.allocation.program import Program

# A gap of exactly 0 is never proven in floating point, so a gap may be larger by this.
GAP_SLACK = 1e-6
# Largest number of solver runs in a step; at most 3 were ever needed.
MAX_RUNS = 20
# Share of the remaining time that a run may take while chords are missing, so that time is left for another run.
LAZY_SHARE = 0.6


@dataclass(frozen=True)
class StepAnswer:
    """The result of a minimisation. `counts` [G, L] is the best known point, which may be the start; None: no point."""

    counts: np.ndarray | None
    bound: float
    """Proven lower bound of the objective in natural units (f1, bytes, share, seconds); −inf when none was proven."""
    status: Literal["optimal", "limit", "infeasible"]
    solver_found: bool
    """Whether the solver itself produced a feasible point."""


def minimise(
    groups: Groups, objective: Objective, caps: Caps, start: np.ndarray | None, gap: float, deadline: float
) -> StepAnswer:
    """Minimises `objective` under the problem's constraints and `caps`, until `deadline` (of time.monotonic).

    `start` [G, L] must be valid and satisfy the caps; the answer is never worse.
    """
    from zorba_ray.allocation.highs import run_highs
    from zorba_ray.allocation.program import Program

    best, bound, bound_is_open, solver_found = start, float("-inf"), True, False
    if time.monotonic() >= deadline:
        return StepAnswer(best, bound, "limit", solver_found)
    narrowed = objectives.within_share(groups, caps)
    program = Program(narrowed, objective, caps)
    if start is not None:
        program.add_chords_at(start.sum(axis=0))
    if start is None or not groups.equal.all():
        # Not needed if all blocks are equal: the integer program is then as quick as the relaxed one.
        _add_chords_by_relaxation(program, gap, deadline)
    for _ in range(MAX_RUNS):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if best is not None:
            program.suggest(best)
        run = run_highs(program.model, left * LAZY_SHARE if program.is_lazy else left, gap, start=best is not None)
        if run.status == "infeasible":
            return StepAnswer(best, bound, "infeasible" if best is None else "limit", solver_found)
        if bound_is_open:
            bound = max(bound, program.unavoidable + run.bound * program.units[objective])
        if not run.found:
            break
        new_chords = program.add_violated_chords()
        counts = program.counts()
        cuts = _forbid_overfull(program, counts)
        broken = [(cap, over) for cap in caps if (over := cap.over(counts, groups)) > 0]
        if not broken and narrowed.accepts(counts):
            solver_found = True
            # Of equal points the earlier one is kept, so that a step never moves without a reason.
            value = objectives.value(objective, counts, groups)
            if best is None or value < objectives.value(objective, best, groups):
                best = counts
        if best is not None and is_closed(objective, groups, best, bound, gap):
            return StepAnswer(best, bound, "optimal", solver_found)
        if new_chords + cuts > 0:
            continue
        if not broken:
            break
        # The cap was exceeded within the solver's tolerance. For bytes, a cut excludes exactly these entries and
        # supersets of them. For others the cap is tightened. That may exclude valid points, so later bounds do not
        # count.
        cap, over = broken[0]
        if not (cap.objective == "vram" and program.forbid(counts)):
            program.tighten(cap, 2 * over)
            bound_is_open = False
    return StepAnswer(best, bound, "limit", solver_found)


def is_closed(objective: Objective, groups: Groups, counts: np.ndarray, bound: float, gap: float) -> bool:
    """Whether `bound` proves the counts within `gap`."""
    value = objectives.value(objective, counts, groups)
    return objectives.relative_gap(objective, value, bound, groups) <= gap + GAP_SLACK


def _add_chords_by_relaxation(program: "Program", gap: float, deadline: float) -> None:
    """Adds the chords that the linear relaxation violates, until there are none. It is quick, and the integer program
    needs nearly the same chords."""
    from zorba_ray.allocation.highs import run_highs

    while program.is_lazy and (left := deadline - time.monotonic()) > 0:
        run = run_highs(program.model, left * LAZY_SHARE, gap, relax=True)
        if not run.found or program.add_violated_chords() == 0:
            return


def _forbid_overfull(program: "Program", counts: np.ndarray) -> int:
    """Adds a cover cut for every single client whose blocks exceed its budget in exact bytes. Returns how many."""
    groups = program.groups
    used = objectives.active_bytes_of(counts, groups)
    over = np.flatnonzero(~groups.equal & (used > groups.slack_bytes))
    for row in over.tolist():
        only = np.zeros_like(counts)
        only[row] = counts[row]
        program.forbid(only)
    return len(over)
