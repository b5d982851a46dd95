"""A fast deterministic heuristic: comparator, starting point for the solver, and fallback when time runs out.

`lean` meets coverage with few bytes, `fill` then adds the block that improves f1 most per byte until a cap is met.
Both work on counts [G, L] of groups of equal clients and add several holders at once where a block has many already.
Neither proves anything. Source: the constraints of algorithm.md section 7; the heuristic is ours.
"""

import heapq

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.balance import balance
from zorba_ray.allocation.bounds import counting_bound, f1_terms
from zorba_ray.allocation.cap import Cap, Caps, within_share
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.problem import Objective
from zorba_ray.allocation.room import Room

# Each halves the interval of the worst share, or of the round time, that the heuristic searches.
BISECTIONS = 10
# A block with N_b holders gets N_b / CHUNK more at a time: exact steps up to twice this, and no walk over a million.
CHUNK = 64


def greedy(problem: Merged, objective: Objective, caps: Caps = ()) -> np.ndarray | None:
    """[G, L] int64: valid counts that keep the caps, good for the objective; None when the heuristic finds none.

    None does not mean that the problem is infeasible.
    """
    narrowed = _within_time(within_share(problem, caps), caps)
    if objective == "time":
        counts = _least(problem, Cap("time", _most_seconds(problem)), caps)
    elif objective == "vram" and problem.vram_objective == "worst_share" and caps:
        counts = _least(problem, Cap("vram", 1.0), caps)
    else:
        counts = lean(narrowed)
        totals = [int(cap.limit) for cap in caps if cap.objective == "vram" and not cap.is_in_budgets(problem)]
        f1_caps = [cap.limit for cap in caps if cap.objective == "convergence"]
        if counts is not None and (objective == "convergence" or f1_caps):
            counts = balance(narrowed, fill(narrowed, counts, min(f1_caps, default=None), min(totals, default=None)))
    return counts if counts is not None and all(cap.holds(counts, problem) for cap in caps) else None


def _least(problem: Merged, loosest: Cap, caps: Caps) -> np.ndarray | None:
    """Counts that keep the caps with a small worst share or round time: bisection over a cap on it."""
    objective = loosest.objective
    best, low, high = None, counting_bound(problem, objective), loosest.limit
    for _ in range(BISECTIONS):
        limit = high if best is None else (low + high) / 2
        counts = greedy(problem, "convergence", (*caps, Cap(objective, limit)))
        if counts is not None:
            best, high = counts, min(limit, objectives.value(objective, counts, problem))
        elif best is None:
            return None
        else:
            low = limit
    return best


def _most_seconds(problem: Merged) -> float:
    """The round time with everything active and everything streamed: no allocation takes longer."""
    everything = objectives.round_seconds(np.ones(problem.active_bytes.shape, dtype=bool), problem)
    streamed = 0.0 if problem.stream_seconds is None else float(problem.stream_seconds.sum())
    return everything + streamed


def _within_time(problem: Merged, caps: Caps) -> Merged:
    """Early blocks forbidden so that nobody is slower than its part of a cap on the round time.

    Nothing is taken off for blocks that are not streamed because they are active: safe, not exact.
    """
    limits = [cap.limit for cap in caps if cap.objective == "time"]
    if not limits:
        return problem
    assert problem.block_seconds is not None
    once = problem.block_seconds.sum(axis=1, keepdims=True)
    if problem.stream_seconds is not None:
        once = once + problem.stream_seconds.sum(axis=1, keepdims=True)
    seconds = once + problem.block_seconds[:, ::-1].cumsum(axis=1)[:, ::-1]  # [G, L] with this block as the first
    if problem.time_objective == "sum":
        # Everybody may take the same multiple of its time with everything active.
        seconds = seconds / seconds[:, :1]
        return problem.without(seconds > min(limits) / _most_seconds(problem))
    return problem.without((seconds > min(limits) * (1 + 1e-12)) & ~problem.required)


def lean(problem: Merged) -> np.ndarray | None:
    """[G, L] int64 with every block on `coverage` clients and every client holding its least, using few bytes; or None.

    Tries cheapest clients first, then the clients with most room left, which is safe where blocks cost the same.
    """
    for by_room in (False, True):
        counts = _cover(problem, by_room)
        if counts is not None:
            return counts
    return None


def _cover(problem: Merged, by_room: bool) -> np.ndarray | None:
    if (problem.required & problem.forbidden).any():
        return None
    room = Room(problem)
    if not room.is_kept():
        return None
    extra, able = problem.active_bytes, (problem.size[:, None] * ~problem.forbidden).sum(axis=0)
    # Scarce and large blocks first: they have the fewest places to go.
    for block in np.lexsort((np.arange(problem.blocks), -extra.sum(axis=0), able)).tolist():
        while (short := problem.coverage - int(room.held[block])) > 0:
            group = _place_for(room, block, by_room)
            if group is not None:
                # Not all at once by room: the next ones may have more of it.
                room.add(group, block, min(short, room.spare(group, block), max(1, short // 8) if by_room else short))
            elif not _make_room(room, block):
                return None
    for group in range(len(extra)):
        while (short := int(problem.size[group] * problem.least[group]) - int(room.total[group])) > 0:
            spare = [room.spare(group, block) for block in range(problem.blocks)]
            # Cheapest block; among equals the one that fewest clients hold.
            order = np.lexsort((room.held, extra[group]))
            block = next((int(b) for b in order if spare[b] > 0), None)
            if block is None:
                return None
            even = max(1, int(problem.size[group]) // CHUNK)
            room.add(group, block, min(short, spare[block], even))
    return room.counts


def _place_for(room: Room, block: int, by_room: bool) -> int | None:
    spare = room.spare_of(block)
    groups = np.flatnonzero(spare > 0)
    if not len(groups):
        return None
    cost, places = room.problem.active_bytes[groups, block], room.places(block)[groups]
    keys = (groups, cost, -places) if by_room else (groups, -places, cost)
    return int(groups[np.lexsort(keys)[0]])


def _make_room(room: Room, block: int) -> bool:
    """Move one block of some client elsewhere so that `block` fits there. Returns whether it worked."""
    problem = room.problem
    candidates = np.flatnonzero((room.counts[:, block] < problem.size) & ~problem.forbidden[:, block])
    for group in candidates.tolist():
        for other in np.flatnonzero((room.counts[group] > 0) & ~problem.required[group]).tolist():
            if other == block or not room.can_swap(group, other, block):
                continue
            target = _place_for(room, other, by_room=True)
            if target is None or target == group:
                continue
            room.add(group, other, -1)
            room.add(target, other, 1)
            room.add(group, block, 1)
            return True
    return False


def fill(problem: Merged, start: np.ndarray, f1_cap: float | None = None, total_cap: int | None = None) -> np.ndarray:
    """[G, L] int64: `start` plus the additions that lower f1 most per byte, within all budgets.

    Stops at f1 <= f1_cap when given; never goes over `total_cap` bytes. Every addition that is refused once is refused
    for good, because room only shrinks, so each block walks its groups (cheapest first) once.
    """
    room = Room(problem, start)
    extra, held = problem.active_bytes, room.held
    left = None if total_cap is None else total_cap - objectives.f2_bytes(room.counts, problem)
    rare, shared = f1_terms(problem)
    f1_now = objectives.f1(room.counts, problem)
    cost = extra / problem.budget_bytes[:, None] if problem.vram_objective == "worst_share" else extra
    queue_of = np.argsort(cost, axis=0, kind="stable")  # [G, L]: per block its groups, cheapest first
    at = [0] * problem.blocks

    def gain(block: int, more: int) -> float:
        count = int(held[block])
        return float(rare[block] * (1.0 / count - 1.0 / (count + more)) - shared[block] * more)

    def offer(block: int) -> tuple[float, int, int] | None:
        """The block's next addition as (−gain per cost, block, holders); None where there is no gain."""
        while at[block] < len(queue_of):
            group = int(queue_of[at[block], block])
            more = min(room.spare(group, block), max(1, int(held[block]) // CHUNK))
            if left is not None and extra[group, block] > 0:
                more = min(more, left // int(extra[group, block]))
            if more > 0:
                better = gain(block, more)
                if better <= 0 and more > 1:
                    more, better = 1, gain(block, 1)
                price = float(cost[group, block]) * more
                return (-better / price if price > 0 else -np.inf, block, more) if better > 0 else None
            at[block] += 1
        return None

    heap = [entry for block in range(problem.blocks) if (entry := offer(block)) is not None]
    heapq.heapify(heap)
    while heap and (f1_cap is None or f1_now > f1_cap):
        promised, block, _ = heapq.heappop(heap)
        now = offer(block)
        if now is None:
            continue
        if now[0] > promised:  # its group was filled meanwhile; the next one is dearer
            heapq.heappush(heap, now)
            continue
        group, more = int(queue_of[at[block], block]), now[2]
        if f1_cap is not None:
            # No more than the cap needs: the smallest number of holders that meets it, if this one does.
            while more > 1 and f1_now - gain(block, more // 2) <= f1_cap:
                more //= 2
        f1_now -= gain(block, more)
        room.add(group, block, more)
        if left is not None:
            left -= more * int(extra[group, block])
        following = offer(block)
        if following is not None:
            heapq.heappush(heap, following)
    return room.counts
