"""Why a problem has no allocation: which client, which constraint, how many bytes, and the smallest budgets that do.

`require_feasible` answers by counting, before any solving; where all blocks of a client cost the same, counting is
exact (a 0/1 matrix with given row limits and column sums exists whenever the totals fit). What counting cannot see
(knapsacks of unequal blocks) the solver proves, and `explain_infeasible` then asks it for the cheapest repair.
Source: the constraints of algorithm.md section 7 (ours).
"""

import heapq
from typing import Any

import numpy as np
import pyomo.environ as pyo

from zorba_ray.allocation import highs
from zorba_ray.allocation.classes import capacities
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.allocation.pyomo_model import new_model
from zorba_ray.errors import AllocationInfeasible

# Messages name this many clients or blocks and count the rest.
NAMED = 5
# Seconds for the repair program; what it has by then is still a sufficient repair.
REPAIR_LIMIT_S = 10.0


def require_feasible(problem: AllocationProblem) -> None:
    """Raise AllocationInfeasible, with all numbers, where counting shows that no allocation exists."""
    # In this order: each may rely on the ones before it having found nothing.
    for find in (_smallest_block, _max_blocks, _holders, _places):
        reason = find(problem)
        if reason is not None:
            raise AllocationInfeasible(reason)


def require_places(problem: AllocationProblem) -> None:
    """Raise AllocationInfeasible where no budget would help: the limits on blocks alone leave too few places."""
    reason = _max_blocks(problem)
    if reason is not None:
        raise AllocationInfeasible(reason)


def _smallest_block(problem: AllocationProblem) -> str | None:
    """A client that cannot hold even its smallest block."""
    needed = problem.base_bytes + problem.active_bytes.min(axis=1)
    short = np.flatnonzero(needed > problem.budget_bytes)
    if not len(short):
        return None
    alike: dict[tuple[int, int], list[int]] = {}  # equal clients make one sentence
    for client in short.tolist():
        alike.setdefault((int(needed[client]), int(problem.budget_bytes[client])), []).append(client)
    lines = [
        problem.client_names[clients[0]]
        + (f" (and {len(clients) - 1} with the same figures)" if len(clients) > 1 else "")
        + f" needs {need:,} bytes for its smallest block (block {problem.active_bytes[clients[0]].argmin()}) but has a "
        f"budget of {budget:,}: {need - budget:,} bytes missing; the smallest budget that would do is {need:,}"
        for (need, budget), clients in list(alike.items())[:NAMED]
    ]
    return f"allocation, constraint budget: {_some(lines, len(alike), 'kinds of clients')}"


def _max_blocks(problem: AllocationProblem) -> str | None:
    """`max_blocks` alone leaves too few places for the coverage, whatever the budgets."""
    offered, needed = problem.clients * problem.block_limit, problem.blocks * problem.coverage
    if offered >= needed:
        return None
    enough = -(-needed // problem.clients)
    return (
        f"allocation, constraint coverage: {problem.blocks} blocks on {problem.coverage} clients each are {needed} "
        f"block places, but max_blocks = {problem.max_blocks} gives {problem.clients} clients {offered}, "
        f"{needed - offered} too few, whatever the budgets; the smallest max_blocks that would do is {enough}"
    )


def _holders(problem: AllocationProblem) -> str | None:
    """A block that too few clients could hold even alone."""
    alone = problem.base_bytes[:, None] + problem.active_bytes  # [N, L] bytes with just this block
    able = (alone <= problem.budget_bytes[:, None]).sum(axis=0)
    short = np.flatnonzero(able < problem.coverage)
    if not len(short):
        return None
    lines = []
    for block in short[:NAMED].tolist():
        missing = alone[:, block] - problem.budget_bytes
        nearest = int(np.argsort(missing, kind="stable")[able[block]])
        lines.append(
            f"block {block} must be active on {problem.coverage} clients, but only {able[block]} can hold it; the "
            f"nearest other, {problem.client_names[nearest]}, needs {alone[nearest, block]:,} bytes and has "
            f"{problem.budget_bytes[nearest]:,}: {missing[nearest]:,} bytes missing"
        )
    return f"allocation, constraint coverage: {_some(lines, len(short), 'blocks')}. {_advice(problem)}"


def _places(problem: AllocationProblem) -> str | None:
    """The budgets have fewer block places together than the coverage needs (smallest blocks counted everywhere)."""
    capacity = capacities(problem)
    needed = problem.blocks * problem.coverage
    short = needed - int(capacity.sum())
    if short <= 0:
        return None
    equal = bool((problem.active_bytes == problem.active_bytes[:, :1]).all())
    return (
        f"allocation, constraint coverage: {problem.blocks} blocks on {problem.coverage} clients each are {needed} "
        f"block places, but the budgets hold {needed - short}, short by {'' if equal else 'at least '}{short}. "
        + (_raises(problem, _cheapest_places(problem, capacity, short)) if equal else _advice(problem))
    )


def _cheapest_places(problem: AllocationProblem, capacity: np.ndarray, short: int) -> dict[int, int]:
    """client -> bytes missing, the least in sum, for `short` more places where all blocks of a client cost the same.

    A client's next place costs one block less what it has left, every further one a block: never less than the one
    before, so taking the cheapest place each time is cheapest in sum.
    """
    block_bytes, room, held = problem.active_bytes[:, 0], problem.room_bytes, capacity.copy()
    missing: dict[int, int] = {}

    def next_place(client: int) -> tuple[int, int]:
        return int(block_bytes[client] * (held[client] + 1) - room[client]) - missing.get(client, 0), client

    heap = [next_place(client) for client in range(problem.clients) if held[client] < problem.block_limit]
    heapq.heapify(heap)
    for _ in range(short):
        price, client = heapq.heappop(heap)
        missing[client] = missing.get(client, 0) + price
        held[client] += 1
        if held[client] < problem.block_limit:
            heapq.heappush(heap, next_place(client))
    return missing


def explain_infeasible(problem: AllocationProblem) -> str:
    """The message for a problem that counting let pass and the solver proved infeasible. May take REPAIR_LIMIT_S."""
    return (
        "allocation, constraints budget and coverage together: the blocks do not fit into the budgets so that each is "
        f"active on {problem.coverage} clients (proven by the solver). {_advice(problem)}"
    )


def _advice(problem: AllocationProblem) -> str:
    missing, proven = cheapest_repair(problem)
    if missing is None:
        return f"no repair was found in {REPAIR_LIMIT_S:g} s: raise budgets or lower coverage"
    return _raises(problem, missing, smallest=proven)


def cheapest_repair(problem: AllocationProblem) -> tuple[dict[int, int] | None, bool]:
    """The least extra bytes in sum that make the problem feasible, as client -> bytes, and whether that is proven.

    None where the repair program found nothing in REPAIR_LIMIT_S. Needs `max_blocks` to leave enough places, or no
    bytes would do.
    """
    model = new_model("cheapest_repair")
    scale = float(problem.active_bytes.max())
    clients, blocks = range(problem.clients), range(problem.blocks)
    model.a = pyo.Var(clients, blocks, domain=pyo.Binary)
    model.extra = pyo.Var(clients, domain=pyo.NonNegativeReals)

    def budget(m: Any, n: int) -> Any:
        used = sum(int(problem.active_bytes[n, b]) / scale * m.a[n, b] for b in blocks)
        return used <= int(problem.room_bytes[n]) / scale + m.extra[n]

    def coverage(m: Any, b: int) -> Any:
        return sum(m.a[n, b] for n in clients) >= problem.coverage

    def held(m: Any, n: int) -> Any:
        return (1, sum(m.a[n, b] for b in blocks), problem.block_limit)

    def active(m: Any, n: int, b: int) -> bool:
        return round(m.a[n, b].value) == 1

    model.budget = pyo.Constraint(clients, rule=budget)
    model.coverage = pyo.Constraint(blocks, rule=coverage)
    model.held = pyo.Constraint(clients, rule=held)
    model.goal = pyo.Objective(rule=lambda m: sum(m.extra[n] for n in clients))
    run = highs.run(model, REPAIR_LIMIT_S, gap=0.0)
    if not run.found:
        return None, False
    # The repair that the answer needs in exact bytes, not the solver's rounded extras.
    used = [sum(int(problem.active_bytes[n, b]) for b in blocks if active(model, n, b)) for n in clients]
    over = [used[n] - int(problem.room_bytes[n]) for n in clients]
    return {n: over[n] for n in clients if over[n] > 0}, run.status == "optimal"


def _raises(problem: AllocationProblem, missing: dict[int, int], smallest: bool = True) -> str:
    """As "1,200 bytes missing in all; the smallest budget that would do: client 3 from 9,000 to 10,200 (+1,200)".

    `smallest` False: these budgets would do, but are not proven to be the least.
    """
    lines = [
        f"{problem.client_names[client]} from {problem.budget_bytes[client]:,} to "
        f"{int(problem.budget_bytes[client]) + extra:,} (+{extra:,})"
        for client, extra in list(missing.items())[:NAMED]
    ]
    budgets = "budget" if len(missing) == 1 else "budgets"
    advice = f"{'the smallest ' if smallest else ''}{budgets} that would do"
    return f"{sum(missing.values()):,} bytes missing in all; {advice}: {_some(lines, len(missing), 'clients')}"


def _some(lines: list[str], count: int, what: str) -> str:
    rest = f"; and {count - len(lines)} more {what}" if count > len(lines) else ""
    return "; ".join(lines) + rest
