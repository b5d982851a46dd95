"""Explains why a problem has no allocation: client, constraint, missing bytes, and the smallest sufficient budgets.

`require_feasible` counts, before any solving. Counting is exact if all blocks of a client cost the same and no rule
prescribes a block: a 0/1 matrix with given row limits and column sums exists whenever the totals fit. In the other
cases (blocks of unequal size, conflicting rules) only the solver can prove that there is no allocation.
`explain_infeasible` then computes the cheapest repair. Source: the constraints of docs/algorithm.md section 7 (ours).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import capacities, deal, merge
from zorba_ray.allocation.problem import MOST_BYTES, AllocationProblem
from zorba_ray.allocation.repair import REPAIR_LIMIT_S, cheapest_repair, counting_is_exact, needed_bytes
from zorba_ray.allocation.solve import minimise
from zorba_ray.allocation.start import greedy
from zorba_ray.errors import AllocationInfeasible

# Messages name this many clients or blocks; they only count the others.
NAMED = 5
# Seconds for the smallest factor; the cheapest raise has its own limit (repair.REPAIR_LIMIT_S).
FACTOR_LIMIT_S = 10.0


def require_feasible(problem: AllocationProblem, covered: bool = True) -> None:
    """Raises AllocationInfeasible, with all numbers, if counting shows that no allocation exists.

    Args:
        covered: whether every block needs `coverage` clients. False: only the rules are checked.
    """
    if not covered:
        _raise_first(problem, _rules, _needs)
        return
    _require_places(problem)
    _raise_first(problem, _needs, _holders, _places)


def _require_places(problem: AllocationProblem) -> None:
    """Raises AllocationInfeasible if no budgets can help: `max_blocks` and the rules alone leave too few places."""
    _raise_first(problem, _rules, _max_blocks, _allowed_holders)


def _raise_first(problem: AllocationProblem, *checks: Callable[[AllocationProblem], str | None]) -> None:
    """Raises for the first check that gives a reason. A check may assume that those before it gave none."""
    for reason in (check(problem) for check in checks):
        if reason is not None:
            raise AllocationInfeasible(reason)


def _rules(problem: AllocationProblem) -> str | None:
    """A client whose rules contradict its least or largest number of blocks."""
    if not problem.has_rules:
        return None
    must, may = problem.required.sum(axis=1), problem.blocks - problem.forbidden.sum(axis=1)
    for client in np.flatnonzero(must > problem.most_blocks)[:1]:
        return (
            f"allocation, constraint must_hold (allocation.rules): {problem.client_names[client]} must hold "
            f"{must[client]} blocks ({_numbers(problem.required[client])}), but max_blocks lets it hold only "
            f"{problem.most_blocks[client]}, whatever the budgets: raise max_blocks or drop blocks from the rule"
        )
    for client in np.flatnonzero(may < problem.least_blocks)[:1]:
        return (
            f"allocation, constraint must_not_hold (allocation.rules): {problem.client_names[client]} may hold "
            f"{may[client]} of {problem.blocks} blocks, but must have at least {problem.least_blocks[client]} "
            "(min_blocks), whatever the budgets: lower min_blocks or drop blocks from the rule"
        )
    return None


def _max_blocks(problem: AllocationProblem) -> str | None:
    """`max_blocks` leaves too few places for the coverage, whatever the budgets."""
    offered, needed = int(problem.most_blocks.sum()), problem.blocks * problem.coverage
    if offered >= needed:
        return None
    most = problem.max_blocks
    text = (
        f"allocation, constraint coverage: {problem.blocks} blocks on {problem.coverage} clients each are {needed} "
        f"block places, but max_blocks{f' = {most}' if isinstance(most, int) else ''} gives {problem.clients} clients "
        f"{offered}, {needed - offered} too few, whatever the budgets"
    )
    if not isinstance(most, int):
        return f"{text}; raise max_blocks of some clients"
    return f"{text}; raise max_blocks to at least {-(-needed // problem.clients)}"


def _allowed_holders(problem: AllocationProblem) -> str | None:
    """A block that too few clients may hold, whatever the budgets."""
    if problem.must_not_hold is None:
        return None
    allowed = problem.clients - problem.must_not_hold.sum(axis=0)
    for block in np.flatnonzero(allowed < problem.coverage)[:1].tolist():
        return (
            f"allocation, constraint coverage: block {block} must be active on {problem.coverage} clients, but only "
            f"{allowed[block]} of {problem.clients} may hold it (must_not_hold: allocation.rules), whatever the "
            "budgets: lower the coverage or drop the block from a rule"
        )
    return None


def _needs(problem: AllocationProblem) -> str | None:
    """A client whose budget is too small for the blocks that it must hold, or for its least number of blocks."""
    needed = needed_bytes(problem)
    short = np.flatnonzero(needed > problem.budget_bytes)
    if not len(short):
        return None
    same_figures: dict[tuple[int, int], list[int]] = {}  # clients with the same figures share a sentence
    for client in short.tolist():
        same_figures.setdefault((int(needed[client]), int(problem.budget_bytes[client])), []).append(client)
    lines = [
        problem.client_names[clients[0]]
        + (f" (and {len(clients) - 1} with the same figures)" if len(clients) > 1 else "")
        + f" needs {need:,} bytes for {_need_text(problem, clients[0])} but has a "
        f"budget of {budget:,}: {need - budget:,} bytes missing; raise it to at least {need:,}"
        for (need, budget), clients in same_figures.items()
    ]
    return f"allocation, constraint budget: {_some(lines, 'kinds of clients')}"


def _need_text(problem: AllocationProblem, client: int) -> str:
    must, least = problem.required[client], int(problem.least_blocks[client])
    others = least - int(must.sum())
    if must.any():
        more = f" and its {others} smallest others" if others > 0 else ""
        return f"the blocks that it must hold ({_numbers(must)}){more}"
    if least > 1:
        return f"its {least} smallest blocks (min_blocks)"
    allowed = np.where(problem.forbidden[client], MOST_BYTES, problem.active_bytes[client])
    return f"its smallest block (block {allowed.argmin()})"


def _holders(problem: AllocationProblem) -> str | None:
    """A block that too few clients can hold, even as their only block."""
    lines = []
    for block in range(problem.blocks):
        alone, may = problem.base_bytes + problem.active_bytes[:, block], ~problem.forbidden[:, block]
        missing = alone - problem.budget_bytes
        able = np.count_nonzero((missing <= 0) & may)
        if able < problem.coverage:
            # The nearest of the clients that may hold it and lack bytes.
            nearest = np.where((missing > 0) & may, missing, MOST_BYTES).argmin()
            lines.append(
                f"block {block} must be active on {problem.coverage} clients, but only {able} can hold it; the "
                f"nearest other, {problem.client_names[nearest]}, needs {alone[nearest]:,} bytes and has "
                f"{problem.budget_bytes[nearest]:,}: {missing[nearest]:,} bytes missing"
            )
    return f"allocation, constraint coverage: {_some(lines, 'blocks')}. {_advice(problem)}" if lines else None


def _places(problem: AllocationProblem) -> str | None:
    """All budgets together have fewer block places than the coverage needs, counted with the smallest blocks."""
    needed = problem.blocks * problem.coverage
    short = needed - int(capacities(problem).sum())
    if short <= 0:
        return None
    return (
        f"allocation, constraint coverage: {problem.blocks} blocks on {problem.coverage} clients each are {needed} "
        f"block places, but the budgets have room for {needed - short}: "
        f"{'' if counting_is_exact(problem) else 'at least '}{short} too few. {_advice(problem)}"
    )


def explain_infeasible(problem: AllocationProblem) -> str:
    """The message for a problem that passed the counting and that the solver proved infeasible. It may take
    REPAIR_LIMIT_S seconds."""
    rules = ", with the blocks that clients must and must not hold" if problem.has_rules else ""
    return (
        "allocation, constraints budget and coverage together: the blocks do not fit into the budgets so that each is "
        f"active on {problem.coverage} clients{rules} (proven by the solver). {_advice(problem)}"
    )


def _advice(problem: AllocationProblem) -> str:
    """As "1,200 bytes missing in all; the smallest raise of budgets: client 3 from 9,000 to 10,200 (+1,200)"."""
    missing, is_proven = cheapest_repair(problem)
    if missing is None and is_proven:
        return "No budgets are enough: no allocation keeps max_blocks, must_hold and must_not_hold together"
    if missing is None:
        return f"No repair was found in {REPAIR_LIMIT_S:g} s: raise budgets, lower coverage, or loosen the rules"
    budgets = problem.budget_bytes
    lines = [
        f"{problem.client_names[n]} from {budgets[n]:,} to {budgets[n] + missing[n]:,} (+{missing[n]:,})"
        for n in np.flatnonzero(missing)
    ]
    # Not proven: these budgets are enough, but smaller ones may be, too.
    what = "the smallest raise of budgets" if is_proven else "a raise of budgets that is enough"
    return f"{missing.sum():,} bytes missing in all; {what}: {_some(lines, 'clients')}"


def _numbers(flags: np.ndarray) -> str:
    return ", ".join(str(block) for block in np.flatnonzero(flags))


def _some(lines: list[str], what: str) -> str:
    others = f"; and {len(lines) - NAMED} more {what}" if len(lines) > NAMED else ""
    return "; ".join(lines[:NAMED]) + others


# --- what if ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WhatIf:
    """The smallest budgets with an allocation. Budgets of a feasible problem are returned unchanged."""

    feasible: bool
    """Whether the problem has an allocation with its own budgets."""
    budget_bytes: np.ndarray
    """[N] int64: sufficient budgets whose raises have the smallest sum in bytes."""
    missing_bytes: int
    """Sum of the raises; 0 if feasible."""
    factor: float
    """The smallest factor by which all budgets can be multiplied; below 1, all can shrink. Round budgets up to a
    byte."""
    proven: bool
    """Whether sum and factor are proven to be the smallest; if not, they are enough, but smaller ones may be, too."""


def smallest_budgets(problem: AllocationProblem) -> WhatIf:
    """The smallest budgets at which `problem` has an allocation, in bytes and as one factor. Takes up to 20 s.

    The factor is the smallest possible worst share when budgets are no limit. So it is exact, without a bisection.

    Raises:
        AllocationInfeasible: no budgets are enough, because `max_blocks` or the rules leave too few places.
    """
    _require_places(problem)
    factor, factor_is_proven = _smallest_factor(problem)
    if factor <= 1.0:
        return WhatIf(True, problem.budget_bytes, 0, factor, factor_is_proven)
    missing, is_proven = cheapest_repair(problem)
    if missing is None:  # the budgets times the factor are enough, though their sum is not the smallest
        missing = np.ceil(factor * problem.budget_bytes).astype(np.int64) - problem.budget_bytes
    return WhatIf(False, problem.budget_bytes + missing, int(missing.sum()), factor, factor_is_proven and is_proven)


def _smallest_factor(problem: AllocationProblem) -> tuple[float, bool]:
    """(the minimum over all matrices of max_n bytes_n / V_n, without budgets; whether it is proven)."""
    everything = problem.base_bytes + problem.active_bytes.sum(axis=1)
    # Budgets are raised by a whole factor k, which keeps shares exact: a share of k·V is a share of V divided by k.
    times = max(1, int((-(-everything // problem.budget_bytes)).max()))
    free = merge(replace(problem, budget_bytes=problem.budget_bytes * times, vram_objective="worst_share"))
    answer = minimise(free, "vram", (), greedy(free, "vram"), 0.0, deadline=time.monotonic() + FACTOR_LIMIT_S)
    if answer.counts is None:
        proof = "proven by the solver" if answer.status == "infeasible" else f"none found in {FACTOR_LIMIT_S:g} s"
        raise AllocationInfeasible(
            f"allocation: no allocation keeps coverage = {problem.coverage}, max_blocks, must_hold and must_not_hold "
            f"together, whatever the budgets ({proof}): loosen one of them"
        )
    return objectives.worst_share(deal(answer.counts, free).matrix, problem), answer.status == "optimal"
