"""The cheapest raise of budgets that makes a problem feasible: by counting where that is exact, else by a program.

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

# Seconds for the repair program; what it has by then is still a sufficient repair.
REPAIR_LIMIT_S = 10.0


def needed_bytes(problem: AllocationProblem) -> np.ndarray:
    """[N] int64: the smallest budget each client needs for itself: the blocks it must hold and its cheapest others, up
    to its least number of blocks. Needs the rules to leave it that many."""
    rows, least = problem.active_bytes, problem.least_blocks
    if problem.must_hold is None and problem.must_not_hold is None and rows.strides[0] == 0:
        rows = rows[:1]  # one row for all
    elif problem.must_hold is not None or problem.must_not_hold is not None:
        # Blocks that must be held first, blocks that may not be held last.
        large = int(problem.active_bytes.max()) + 1
        rows = np.where(problem.forbidden, 2 * large, np.where(problem.required, rows - large, rows))
        must = problem.required.sum(axis=1)
        order = np.sort(rows, axis=1).cumsum(axis=1)
        count = np.maximum(must, least)
        return problem.base_bytes + order[np.arange(problem.clients), count - 1] + must * large
    cheapest_first = np.sort(rows, axis=1).cumsum(axis=1)
    if len(cheapest_first) == 1:
        return problem.base_bytes + cheapest_first[0, least - 1]
    return problem.base_bytes + cheapest_first[np.arange(problem.clients), least - 1]


def counting_is_exact(problem: AllocationProblem) -> bool:
    """Whether places can be counted instead of packed: equal blocks on every client, and nothing prescribed."""
    if problem.must_hold is not None or problem.must_not_hold is not None:
        return False
    rows = problem.active_bytes[:1] if problem.active_bytes.strides[0] == 0 else problem.active_bytes
    return bool((rows == rows[:, :1]).all())


def cheapest_repair(problem: AllocationProblem) -> tuple[dict[int, int] | None, bool]:
    """The least extra bytes in sum that make the problem feasible, as client -> bytes, and whether that is proven.

    None where no bytes would do (proven: the limits and rules on blocks leave no matrix), or where the repair program
    found nothing in REPAIR_LIMIT_S (not proven).
    """
    return _by_counting(problem) if counting_is_exact(problem) else _by_program(problem)


def _by_counting(problem: AllocationProblem) -> tuple[dict[int, int], bool]:
    """First what every client needs for itself, then the cheapest further places until the coverage has enough.

    A client's next place costs one block less what it has left, every further one a block: never less than the one
    before, so taking the cheapest place each time is cheapest in sum.
    """
    short_alone = np.maximum(needed_bytes(problem) - problem.budget_bytes, 0)
    missing = {int(n): int(short_alone[n]) for n in np.flatnonzero(short_alone)}
    block_bytes, room, most = problem.active_bytes[:, 0], problem.room_bytes, problem.most_blocks
    held = np.maximum(capacities(problem), problem.least_blocks)
    short = problem.blocks * problem.coverage - int(held.sum())
    if short <= 0:
        return missing, True

    def next_place(client: int) -> tuple[int, int]:
        return int(block_bytes[client] * (held[client] + 1) - room[client]) - missing.get(client, 0), client

    heap = [next_place(client) for client in np.flatnonzero(held < most).tolist()]
    heapq.heapify(heap)
    for _ in range(short):
        price, client = heapq.heappop(heap)
        missing[client] = missing.get(client, 0) + price
        held[client] += 1
        if held[client] < most[client]:
            heapq.heappush(heap, next_place(client))
    return missing, True


def _by_program(problem: AllocationProblem) -> tuple[dict[int, int] | None, bool]:
    """Binaries a[n, b] and extra_n >= 0 in every budget, Σ extra_n minimised."""
    model = new_model("cheapest_repair")
    scale = float(problem.active_bytes.max())
    clients, blocks = range(problem.clients), range(problem.blocks)
    required, forbidden = problem.required, problem.forbidden
    most, least = problem.most_blocks, problem.least_blocks
    model.a = pyo.Var(
        clients, blocks, domain=pyo.Binary, bounds=lambda _, n, b: (int(required[n, b]), int(not forbidden[n, b]))
    )
    model.extra = pyo.Var(clients, domain=pyo.NonNegativeReals)

    def budget(m: Any, n: int) -> Any:
        used = sum(int(problem.active_bytes[n, b]) / scale * m.a[n, b] for b in blocks)
        return used <= int(problem.room_bytes[n]) / scale + m.extra[n]

    def coverage(m: Any, b: int) -> Any:
        return sum(m.a[n, b] for n in clients) >= problem.coverage

    def held(m: Any, n: int) -> Any:
        return (int(least[n]), sum(m.a[n, b] for b in blocks), int(most[n]))

    def active(m: Any, n: int, b: int) -> bool:
        return round(m.a[n, b].value) == 1

    model.budget = pyo.Constraint(clients, rule=budget)
    model.coverage = pyo.Constraint(blocks, rule=coverage)
    model.held = pyo.Constraint(clients, rule=held)
    model.goal = pyo.Objective(rule=lambda m: sum(m.extra[n] for n in clients))
    run = highs.run(model, REPAIR_LIMIT_S, gap=0.0)
    if not run.found:
        return None, run.status == "infeasible"
    # The repair that the answer needs in exact bytes, not the solver's rounded extras.
    used = [sum(int(problem.active_bytes[n, b]) for b in blocks if active(model, n, b)) for n in clients]
    over = [used[n] - int(problem.room_bytes[n]) for n in clients]
    return {n: over[n] for n in clients if over[n] > 0}, run.status == "optimal"
