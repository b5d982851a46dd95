"""The cheapest raise of budgets that makes a problem feasible: by counting where that is exact, else by a program.

Source: the constraints of docs/algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import capacities
from zorba_ray.allocation.problem import AllocationProblem

# Seconds for the repair program. A repair found by then is sufficient, though perhaps not the cheapest.
REPAIR_LIMIT_S = 10.0


def needed_bytes(problem: AllocationProblem) -> np.ndarray:
    """[N] int64: the smallest budget of each client by itself: for the blocks that it must hold, and its cheapest other
    blocks up to its least number of blocks. The rules must leave it that many."""
    order, must, large = problem.active_bytes, problem.required.sum(axis=1), int(problem.active_bytes.max()) + 1
    if problem.has_rules:
        # Blocks that must be held first, blocks that may not be held last.
        order = np.where(problem.forbidden, 2 * large, np.where(problem.required, order - large, order))
    elif order.strides[0] == 0:
        order = order[:1]  # all rows are the same
    cheapest_first = np.broadcast_to(np.sort(order, axis=1).cumsum(axis=1), problem.active_bytes.shape)
    count = np.maximum(must, problem.least_blocks)
    return problem.base_bytes + cheapest_first[np.arange(problem.clients), count - 1] + must * large


def counting_is_exact(problem: AllocationProblem) -> bool:
    """Whether counting block places is exact: all blocks of a client cost the same, and no rule prescribes a block."""
    rows = problem.active_bytes[:1] if problem.active_bytes.strides[0] == 0 else problem.active_bytes
    return not problem.has_rules and bool((rows == rows[:, :1]).all())


def cheapest_repair(problem: AllocationProblem) -> tuple[np.ndarray | None, bool]:
    """(extra bytes [N] int64 with the smallest sum that makes the problem feasible, whether that is proven).

    None: no bytes are enough, because `max_blocks` and the rules allow no matrix (proven), or the repair program found
    nothing in REPAIR_LIMIT_S (not proven).
    """
    return (_by_counting(problem), True) if counting_is_exact(problem) else _by_program(problem)


def _by_counting(problem: AllocationProblem) -> np.ndarray:
    """First the bytes that every client needs by itself, then the cheapest further places until the coverage is met.

    A client's next place costs one block minus its free bytes; every further place costs one block. So prices never
    fall from place to place, and taking the cheapest places gives the smallest sum.
    """
    missing = np.maximum(needed_bytes(problem) - problem.budget_bytes, 0)
    block_bytes, most = problem.active_bytes[:, 0], problem.most_blocks
    places = np.maximum(capacities(problem), problem.least_blocks)
    short = max(problem.blocks * problem.coverage - int(places.sum()), 0)
    open_clients = np.flatnonzero(places < most)
    further = np.repeat(open_clients, np.minimum(most - places - 1, short)[open_clients])
    next_place = (block_bytes * (places + 1) - problem.slack_bytes - missing)[open_clients]
    client = np.concatenate((open_clients, further))
    price = np.concatenate((next_place, block_bytes[further]))
    cheapest = np.lexsort((client, price))[:short]
    np.add.at(missing, client[cheapest], price[cheapest])
    return missing


def _by_program(problem: AllocationProblem) -> tuple[np.ndarray | None, bool]:
    """A program with binaries a[n, b] and extra bytes extra_n >= 0 in every budget; it minimises Σ extra_n."""
    import pyomo.environ as pyo

    from zorba_ray.allocation.highs import run_highs
    from zorba_ray.allocation.program import new_model

    model = new_model("cheapest_repair")
    scale = float(problem.active_bytes.max())
    clients, blocks = range(problem.clients), range(problem.blocks)
    low, high = problem.required.astype(int).tolist(), (~problem.forbidden).astype(int).tolist()
    sizes, slack = (problem.active_bytes / scale).tolist(), (problem.slack_bytes / scale).tolist()
    least, most = problem.least_blocks.tolist(), problem.most_blocks.tolist()
    model.a = pyo.Var(clients, blocks, domain=pyo.Binary, bounds=lambda _, n, b: (low[n][b], high[n][b]))
    model.extra = pyo.Var(clients, domain=pyo.NonNegativeReals)
    model.budget = pyo.Constraint(
        clients, rule=lambda m, n: sum(sizes[n][b] * m.a[n, b] for b in blocks) <= slack[n] + m.extra[n]
    )
    model.coverage = pyo.Constraint(blocks, rule=lambda m, b: sum(m.a[n, b] for n in clients) >= problem.coverage)
    model.held = pyo.Constraint(clients, rule=lambda m, n: (least[n], sum(m.a[n, b] for b in blocks), most[n]))
    model.goal = pyo.Objective(rule=lambda m: sum(m.extra[n] for n in clients))
    run = run_highs(model, REPAIR_LIMIT_S, gap=0.0)
    if not run.found:
        return None, run.status == "infeasible"
    # The exact bytes that this matrix needs; the solver's extras are rounded.
    entries = model.a.extract_values()
    active = np.array([[round(entries[n, b]) == 1 for b in blocks] for n in clients])
    used = objectives.active_bytes_of(active, problem)
    return np.maximum(used - problem.slack_bytes, 0), run.status == "optimal"
