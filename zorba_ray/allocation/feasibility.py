"""Why a problem has no allocation: which client, which constraint, how many bytes, and the smallest budgets that do.

`require_feasible` answers by counting, before any solving; where all blocks of a client cost the same and nothing is
prescribed, counting is exact (a 0/1 matrix with given row limits and column sums exists whenever the totals fit). What
counting cannot see (knapsacks of unequal blocks, rules that cross) the solver proves, and `explain_infeasible` then
asks for the cheapest repair.
Source: the constraints of algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.allocation.classes import capacities
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.allocation.repair import REPAIR_LIMIT_S, cheapest_repair, counting_is_exact, needed_bytes
from zorba_ray.errors import AllocationInfeasible

# Messages name this many clients or blocks and count the rest.
NAMED = 5


def require_feasible(problem: AllocationProblem) -> None:
    """Raise AllocationInfeasible, with all numbers, where counting shows that no allocation exists."""
    require_places(problem)
    # In this order: each may rely on the ones before it having found nothing.
    _raise(_own_needs(problem) or _holders(problem) or _places(problem))


def require_places(problem: AllocationProblem) -> None:
    """Raise AllocationInfeasible where no budget would help: limits and rules on blocks alone leave too few places."""
    _raise(_rules(problem) or _max_blocks(problem) or _allowed_holders(problem))


def _raise(reason: str | None) -> None:
    if reason is not None:
        raise AllocationInfeasible(reason)


def _rules(problem: AllocationProblem) -> str | None:
    """A client whose rules leave no number of blocks between its least and its most."""
    if problem.must_hold is None and problem.must_not_hold is None:
        return None
    must, may = problem.required.sum(axis=1), problem.blocks - problem.forbidden.sum(axis=1)
    for client in np.flatnonzero(must > problem.most_blocks)[:1].tolist():
        return (
            f"allocation, constraint must_hold (allocation.rules): {problem.client_names[client]} must hold "
            f"{must[client]} blocks ({_numbers(problem.required[client])}), but max_blocks lets it hold "
            f"{problem.most_blocks[client]}, whatever the budgets"
        )
    for client in np.flatnonzero(may < problem.least_blocks)[:1].tolist():
        return (
            f"allocation, constraint must_not_hold (allocation.rules): {problem.client_names[client]} may hold "
            f"{may[client]} of {problem.blocks} blocks, but must have at least {problem.least_blocks[client]} "
            "(min_blocks), whatever the budgets"
        )
    return None


def _max_blocks(problem: AllocationProblem) -> str | None:
    """`max_blocks` alone leaves too few places for the coverage, whatever the budgets."""
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
    return f"{text}; the smallest max_blocks that would do is {-(-needed // problem.clients)}"


def _allowed_holders(problem: AllocationProblem) -> str | None:
    """A block that too few clients may hold, whatever the budgets."""
    if problem.must_not_hold is None:
        return None
    allowed = problem.clients - problem.must_not_hold.sum(axis=0)
    for block in np.flatnonzero(allowed < problem.coverage)[:1].tolist():
        return (
            f"allocation, constraint coverage: block {block} must be active on {problem.coverage} clients, but only "
            f"{allowed[block]} of {problem.clients} may hold it (must_not_hold: allocation.rules), whatever the "
            "budgets"
        )
    return None


def _own_needs(problem: AllocationProblem) -> str | None:
    """A client that cannot hold even the blocks that it must, or its smallest ones up to its least number."""
    needed = needed_bytes(problem)
    short = np.flatnonzero(needed > problem.budget_bytes)
    if not len(short):
        return None
    alike: dict[tuple[int, int], list[int]] = {}  # equal clients make one sentence
    for client in short.tolist():
        alike.setdefault((int(needed[client]), int(problem.budget_bytes[client])), []).append(client)
    lines = [
        problem.client_names[clients[0]]
        + (f" (and {len(clients) - 1} with the same figures)" if len(clients) > 1 else "")
        + f" needs {need:,} bytes for {_need_text(problem, clients[0])} but has a "
        f"budget of {budget:,}: {need - budget:,} bytes missing; the smallest budget that would do is {need:,}"
        for (need, budget), clients in list(alike.items())[:NAMED]
    ]
    return f"allocation, constraint budget: {_some(lines, len(alike), 'kinds of clients')}"


def _need_text(problem: AllocationProblem, client: int) -> str:
    must, least = problem.required[client], int(problem.least_blocks[client])
    others = least - int(must.sum())
    if must.any():
        more = f" and its {others} smallest others" if others > 0 else ""
        return f"the blocks that it must hold ({_numbers(must)}){more}"
    if least > 1:
        return f"its {least} smallest blocks (min_blocks)"
    allowed = np.where(problem.forbidden[client], np.iinfo(np.int64).max, problem.active_bytes[client])
    return f"its smallest block (block {allowed.argmin()})"


def _holders(problem: AllocationProblem) -> str | None:
    """A block that too few clients could hold even alone."""
    room = problem.room_bytes
    able = [
        int(np.count_nonzero((problem.active_bytes[:, block] <= room) & ~problem.forbidden[:, block]))
        for block in range(problem.blocks)
    ]
    short = [block for block in range(problem.blocks) if able[block] < problem.coverage]
    if not short:
        return None
    lines = []
    for block in short[:NAMED]:
        alone = problem.base_bytes + problem.active_bytes[:, block]
        missing = alone - problem.budget_bytes
        # Among those that may hold it and cannot yet.
        nearest = int(
            np.argmin(np.where((missing > 0) & ~problem.forbidden[:, block], missing, np.iinfo(np.int64).max))
        )
        lines.append(
            f"block {block} must be active on {problem.coverage} clients, but only {able[block]} can hold it; the "
            f"nearest other, {problem.client_names[nearest]}, needs {alone[nearest]:,} bytes and has "
            f"{problem.budget_bytes[nearest]:,}: {missing[nearest]:,} bytes missing"
        )
    return f"allocation, constraint coverage: {_some(lines, len(short), 'blocks')}. {_advice(problem)}"


def _places(problem: AllocationProblem) -> str | None:
    """The budgets have fewer block places together than the coverage needs (smallest blocks counted everywhere)."""
    needed = problem.blocks * problem.coverage
    short = needed - int(capacities(problem).sum())
    if short <= 0:
        return None
    exact = counting_is_exact(problem)
    return (
        f"allocation, constraint coverage: {problem.blocks} blocks on {problem.coverage} clients each are {needed} "
        f"block places, but the budgets hold {needed - short}, short by {'' if exact else 'at least '}{short}. "
        f"{_advice(problem)}"
    )


def explain_infeasible(problem: AllocationProblem) -> str:
    """The message for a problem that counting let pass and the solver proved infeasible. May take REPAIR_LIMIT_S."""
    rules = problem.must_hold is not None or problem.must_not_hold is not None
    return (
        "allocation, constraints budget and coverage together: the blocks do not fit into the budgets so that each is "
        f"active on {problem.coverage} clients{', with the blocks that clients must and must not hold' * rules} "
        f"(proven by the solver). {_advice(problem)}"
    )


def _advice(problem: AllocationProblem) -> str:
    """As "1,200 bytes missing in all; the smallest budget that would do: client 3 from 9,000 to 10,200 (+1,200)"."""
    missing, proven = cheapest_repair(problem)
    if missing is None and proven:
        return "No budgets would do: max_blocks, must_hold and must_not_hold together leave no matrix"
    if missing is None:
        return f"No repair was found in {REPAIR_LIMIT_S:g} s: raise budgets, lower coverage, or loosen the rules"
    lines = [
        f"{problem.client_names[client]} from {problem.budget_bytes[client]:,} to "
        f"{int(problem.budget_bytes[client]) + extra:,} (+{extra:,})"
        for client, extra in list(missing.items())[:NAMED]
    ]
    budgets = "budget" if len(missing) == 1 else "budgets"
    # Not proven: these budgets would do, but less might.
    advice = f"{'the smallest ' if proven else ''}{budgets} that would do"
    return f"{sum(missing.values()):,} bytes missing in all; {advice}: {_some(lines, len(missing), 'clients')}"


def _numbers(flags: np.ndarray) -> str:
    return ", ".join(str(block) for block in np.flatnonzero(flags).tolist())


def _some(lines: list[str], count: int, what: str) -> str:
    rest = f"; and {count - len(lines)} more {what}" if count > len(lines) else ""
    return "; ".join(lines) + rest
