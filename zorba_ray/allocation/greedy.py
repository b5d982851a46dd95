"""A fast deterministic heuristic: comparator, starting point for the solver, and fallback when time runs out.

`lean` meets coverage with few bytes, `fill` then adds the block that improves f1 most per byte until a cap is met.
Neither proves anything. Source: the constraints of algorithm.md section 7; the heuristic is ours.
"""

import heapq

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.bounds import counting_bound
from zorba_ray.allocation.cap import Cap, within_share
from zorba_ray.allocation.problem import AllocationProblem, Objective

# Each halves the interval of the worst share that the heuristic searches.
SHARE_BISECTIONS = 10


def greedy(problem: AllocationProblem, objective: Objective, cap: Cap | None = None) -> np.ndarray | None:
    """[N, L] bool: a valid matrix that keeps the cap, good for the objective; None when the heuristic finds none.

    None does not mean that the problem is infeasible.
    """
    if objective == "convergence":
        narrowed = within_share(problem, cap)
        total_cap = int(cap.limit) if cap is not None and problem.vram_objective == "total_bytes" else None
        start = lean(narrowed)
        active = None if start is None else fill(narrowed, start, total_cap=total_cap)
    elif cap is None:
        active = lean(problem)
    elif problem.vram_objective == "worst_share":
        active = _least_share(problem, cap)
    else:
        start = lean(problem)
        active = None if start is None else fill(problem, start, f1_cap=cap.limit)
    return active if active is not None and (cap is None or cap.holds(active, problem)) else None


def _least_share(problem: AllocationProblem, cap: Cap) -> np.ndarray | None:
    """A matrix that keeps the cap on f1 with a small worst share: bisection over the share that budgets are cut to."""
    best, low, high = None, counting_bound(problem, "vram"), 1.0
    for _ in range(SHARE_BISECTIONS):
        share = high if best is None else (low + high) / 2
        active = greedy(problem, "convergence", Cap("vram", share))
        if active is not None and cap.holds(active, problem):
            best, high = active, objectives.worst_share(active, problem)
        elif best is None:
            return None
        else:
            low = share
    return best


def lean(problem: AllocationProblem) -> np.ndarray | None:
    """[N, L] bool with every block on `coverage` clients and every client holding one, using few bytes; or None.

    Tries cheapest clients first, then the clients with most room left, which is safe where blocks cost the same.
    """
    for by_room in (False, True):
        active = _cover(problem, by_room)
        if active is not None:
            return active
    return None


def _cover(problem: AllocationProblem, by_room: bool) -> np.ndarray | None:
    extra = problem.active_bytes
    room = problem.room_bytes.copy()
    active = np.zeros(extra.shape, dtype=bool)
    able = (extra <= room[:, None]).sum(axis=0)
    # Scarce and large blocks first: they have the fewest places to go.
    for block in np.lexsort((np.arange(problem.blocks), -extra.sum(axis=0), able)):
        for _ in range(problem.coverage):
            client = _place_for(problem, active, room, int(block), by_room)
            if client is None and not _make_room(problem, active, room, int(block)):
                return None
            if client is not None:
                active[client, block] = True
                room[client] -= extra[client, block]
    held = objectives.holders(active)
    for client in np.flatnonzero(~active.any(axis=1)):
        # Cheapest block; among equals the one that fewest clients hold.
        block = np.lexsort((held, extra[client]))[0]
        if extra[client, block] > room[client]:
            return None
        active[client, block] = True
        held[block] += 1
    return active


def _place_for(
    problem: AllocationProblem, active: np.ndarray, room: np.ndarray, block: int, by_room: bool
) -> int | None:
    cost = problem.active_bytes[:, block]
    held = active.sum(axis=1)
    open_to = ~active[:, block] & (cost <= room) & (held < problem.block_limit)
    if not open_to.any():
        return None
    clients = np.flatnonzero(open_to)
    # Room counted in copies of this block, so that large and small clients compare; a full hand counts as no room.
    places = np.minimum(room[clients] / np.maximum(cost[clients], 1), problem.block_limit - held[clients])
    keys = (clients, cost[clients], -places) if by_room else (clients, -places, cost[clients])
    return int(clients[np.lexsort(keys)[0]])


def _make_room(problem: AllocationProblem, active: np.ndarray, room: np.ndarray, block: int) -> bool:
    """Move one block of some client elsewhere so that `block` fits there. Returns whether it worked."""
    extra = problem.active_bytes
    for client in np.flatnonzero(~active[:, block]):
        for other in np.flatnonzero(active[client]):
            if room[client] + extra[client, other] < extra[client, block]:
                continue
            target = _place_for(problem, active, room, int(other), by_room=True)
            if target is None:
                continue
            active[client, other], active[target, other], active[client, block] = False, True, True
            room[client] += extra[client, other] - extra[client, block]
            room[target] -= extra[target, other]
            return True
    return False


def fill(
    problem: AllocationProblem, start: np.ndarray, f1_cap: float | None = None, total_cap: int | None = None
) -> np.ndarray:
    """[N, L] bool: `start` plus the additions that lower f1 most per byte, within all budgets.

    Stops at f1 <= f1_cap when given; never goes over `total_cap` bytes. Every addition that is refused once is refused
    for good, because room only shrinks, so each block walks its clients (cheapest first) once.
    """
    active = start.copy()
    extra = problem.active_bytes
    room = problem.room_bytes - np.where(active, extra, 0).sum(axis=1)
    places = problem.block_limit - active.sum(axis=1)
    held = objectives.holders(active)
    total_left = None if total_cap is None else total_cap - objectives.f2_bytes(active, problem)
    scale = objectives.f1_scale(problem)
    f1_now = objectives.f1(active, problem)
    cost = extra / problem.budget_bytes[:, None] if problem.vram_objective == "worst_share" else extra
    queue_of = np.argsort(cost, axis=0, kind="stable")  # [N, L]: per block its clients, cheapest first
    at = [0] * problem.blocks

    def gain(block: int) -> float:
        count = int(held[block])
        rare = problem.clients * problem.block_weight[block] * (1.0 / count - 1.0 / (count + 1))
        return float(rare - problem.beta * problem.shared_cost[block]) / scale

    def offer(block: int) -> tuple[float, int] | None:
        """The block's next addition as (−gain per cost, block); None when no client can take it or it is no gain."""
        while at[block] < problem.clients:
            client = queue_of[at[block], block]
            fits = not active[client, block] and extra[client, block] <= room[client] and places[client] > 0
            if fits and (total_left is None or extra[client, block] <= total_left):
                better = gain(block)
                price = float(cost[client, block])
                return (-better / price if price > 0 else -np.inf, block) if better > 0 else None
            at[block] += 1
        return None

    heap = [entry for block in range(problem.blocks) if (entry := offer(block)) is not None]
    heapq.heapify(heap)
    while heap and (f1_cap is None or f1_now > f1_cap):
        promised, block = heapq.heappop(heap)
        now = offer(block)
        if now is None:
            continue
        if now[0] > promised:  # its client was filled meanwhile; the next one is dearer
            heapq.heappush(heap, now)
            continue
        client = queue_of[at[block], block]
        f1_now -= gain(block)
        active[client, block] = True
        held[block] += 1
        room[client] -= extra[client, block]
        places[client] -= 1
        if total_left is not None:
            total_left -= int(extra[client, block])
        following = offer(block)
        if following is not None:
            heapq.heappush(heap, following)
    return active
