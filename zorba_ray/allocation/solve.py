"""The way in: check the problem, merge equal clients, run the algorithm, deal the blocks, judge the answer."""

import time

from zorba_ray.allocation import highs, objectives
from zorba_ray.allocation.answer import Allocation
from zorba_ray.allocation.check import check
from zorba_ray.allocation.classes import deal, merge
from zorba_ray.allocation.feasibility import require_feasible
from zorba_ray.allocation.lexicographic import Lexicographic
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.errors import ConfigError


def allocate(problem: AllocationProblem, time_limit_s: float, gap: float) -> Allocation:
    """Decide which client activates which blocks, by the ε-constraint lexicographic algorithm on HiGHS.

    `time_limit_s` (seconds, >= 0) is shared by the minimisations (five, or nine with three objectives); building the
    programs and explaining an infeasible problem come on top. `gap` (relative, in [0, 1);
    of memory, to what is above the bases: `objectives.relative_gap`) is how far from proven optimal each of them may
    stop; 0 means to within the solver's tolerances (1e-6). The same problem gives the same matrix every time, as long
    as no step comes near its share of the time limit.

    Raises ConfigError for settings out of range and for a problem in which activation costs no memory at all, and
    AllocationInfeasible with client, constraint and missing bytes when there is no allocation.
    Source: algorithm.md sections 5 to 7 (ours).
    """
    if not 0 <= time_limit_s < float("inf"):
        raise ConfigError(f"allocation: time_limit_s = {time_limit_s!r} must be a finite number of seconds >= 0")
    if not 0 <= gap < 1:
        raise ConfigError(f"allocation: gap = {gap!r} must be in [0, 1)")
    if not problem.active_bytes.any():
        raise ConfigError(
            "allocation: active_bytes is 0 for every client and block: a frozen block costs as much memory as an "
            "active one, so no budget can bind and there is nothing to allocate by memory. Choose memory.master "
            "and memory.frozen so that they differ, or activate all blocks everywhere"
        )
    require_feasible(problem)
    merged = merge(problem)
    algorithm = Lexicographic(merged, gap, deadline=time.monotonic() + time_limit_s)
    counts = algorithm.run()
    active = deal(counts, merged)
    violations = check(problem, active)
    # Our own slip, never the user's: no such matrix may leave this package.
    if violations:
        raise AssertionError(f"the allocation breaks its constraints: {'; '.join(violations[:20])}")
    steps, used = tuple(algorithm.steps), objectives.client_bytes(active, problem)
    # Bounds without the solver (counting, the Lagrangian dual) can prove a heuristic's point too.
    proven = all(step.status == "optimal" for step in steps)
    return Allocation(
        active=active,
        steps=steps,
        f1=objectives.f1(counts, merged),
        f2_bytes=int(used.sum()),
        worst_share=float((used / problem.budget_bytes).max()),
        gap=max(step.gap for step in steps),
        solver=highs.version() if algorithm.solver_found else "local search, proven by bounds" if proven else "greedy",
        f3_seconds=None if problem.block_seconds is None else objectives.round_seconds(active, problem),
    )
