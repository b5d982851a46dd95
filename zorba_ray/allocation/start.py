"""A fast deterministic heuristic: comparator, starting point for the solver, and fallback when time runs out.

`lean` meets coverage with few bytes, `fill` then adds the block that improves f1 most per byte until a cap is met.
Both work on counts [G, L] of groups of equal clients and add several holders at once where a block has many already.
Neither proves anything. Source: the constraints of docs/algorithm.md section 7; the heuristic is ours.
"""

import heapq

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import Groups
from zorba_ray.allocation.objectives import Caps
from zorba_ray.allocation.problem import Objective

# A block with N_b holders gets N_b / CHUNK more at a time: exact steps up to twice this, and no walk over a million.
CHUNK = 64


def greedy(groups: Groups, objective: Objective, caps: Caps = ()) -> np.ndarray | None:
    """[G, L] int64: valid counts that keep the caps, good for the objective; None when the heuristic finds none.

    None does not mean that the problem is infeasible. Round time is not looked at: it is for the solver.
    """
    narrowed = objectives.within_share(groups, caps)
    counts = lean(narrowed)
    f1_caps = [cap.limit for cap in caps if cap.objective == "convergence"]
    if counts is not None and (objective == "convergence" or f1_caps):
        totals = [int(cap.limit) for cap in caps if cap.objective == "vram" and not cap.is_share(groups)]
        counts = fill(narrowed, counts, min(f1_caps, default=None), min(totals, default=None))
    return counts if counts is not None and objectives.are_kept(caps, counts, groups) else None


class _Partial:
    """Counts [G, L] under change. A group of equal blocks has places left, any other row (one client) bytes."""

    def __init__(self, groups: Groups, start: np.ndarray) -> None:
        self.groups = groups
        self.counts = start.astype(np.int64)
        self.held = self.counts.sum(axis=0)
        self.places = groups.size * groups.capacity - self.counts.sum(axis=1)
        self.bytes_left = groups.slack_bytes - (self.counts * groups.active_bytes).sum(axis=1)  # not used where equal

    def spare(self, block: int, rows: int | slice = slice(None)) -> np.ndarray:
        """int64: how many more members of the groups `rows` could hold the block."""
        p = self.groups
        fits = p.equal[rows] | (p.active_bytes[rows, block] <= self.bytes_left[rows])
        more = np.minimum(p.size[rows] - self.counts[rows, block], self.places[rows])
        return np.where(fits & ~p.forbidden[rows, block], more, 0)

    def copies(self, block: int) -> np.ndarray:
        """[G] float64: slack per member in copies of this block, so that large and small clients compare."""
        p, places = self.groups, self.places / self.groups.size
        in_bytes = self.bytes_left / np.maximum(p.active_bytes[:, block], 1)
        return np.where(p.equal, places, np.minimum(places, in_bytes))

    def add(self, group: int, block: int, more: int) -> None:
        """`more` members take the block."""
        self.counts[group, block] += more
        self.held[block] += more
        self.places[group] -= more
        self.bytes_left[group] -= more * self.groups.active_bytes[group, block]


def lean(groups: Groups) -> np.ndarray | None:
    """[G, L] int64 with every block on `coverage` clients and every client holding its least, using few bytes; or None.

    Tries cheapest clients first, then the clients with most slack left, which is safe where blocks cost the same.
    """
    cheapest = _cover(groups, by_slack=False)
    return _cover(groups, by_slack=True) if cheapest is None else cheapest


def _cover(groups: Groups, by_slack: bool) -> np.ndarray | None:
    partial, cost = _Partial(groups, groups.low), groups.active_bytes
    is_kept = (partial.places >= 0) & (groups.equal | (partial.bytes_left >= 0))
    if (groups.required & groups.forbidden).any() or not is_kept.all():
        return None
    # Scarce and large blocks first: they have the fewest places to go.
    for block in np.lexsort((-cost.sum(axis=0), groups.high.sum(axis=0))).tolist():
        while (short := groups.source.coverage - int(partial.held[block])) > 0:
            spare, copies = partial.spare(block), partial.copies(block)
            keys = (cost[:, block], -copies) if by_slack else (-copies, cost[:, block])
            order = np.lexsort(keys)
            group = next((g for g in order.tolist() if spare[g] > 0), None)
            if group is None:
                return None
            # Not all at once by slack: the next ones may have more of it.
            partial.add(group, block, min(short, int(spare[group]), max(1, short // 8) if by_slack else short))
    for group in range(len(cost)):
        while (short := int(groups.size[group] * groups.least[group] - partial.counts[group].sum())) > 0:
            # Cheapest block; among equals the one that fewest clients hold.
            order = np.lexsort((partial.held, cost[group])).tolist()
            block = next((block for block in order if partial.spare(block, group) > 0), None)
            if block is None:
                return None
            even = max(1, int(groups.size[group]) // CHUNK)
            partial.add(group, block, min(short, int(partial.spare(block, group)), even))
    return partial.counts


def fill(groups: Groups, start: np.ndarray, f1_cap: float | None = None, total_cap: int | None = None) -> np.ndarray:
    """[G, L] int64: `start` plus the additions that lower f1 most per byte, within all budgets.

    Stops at f1 <= f1_cap when given; never goes over `total_cap` bytes. Every addition that is refused once is refused
    for good, because slack only shrinks, so each block walks its groups (cheapest first) once.
    """
    partial, extra = _Partial(groups, start), groups.active_bytes
    held, counts = partial.held, partial.counts
    left = None if total_cap is None else total_cap - objectives.f2_bytes(counts, groups)
    rare, shared = objectives.f1_terms(groups)
    f1_now = objectives.f1(counts, groups)
    is_share = groups.source.vram_objective == "worst_share"
    cost = extra / groups.budget_bytes[:, None] if is_share else extra
    queue_of = np.argsort(cost, axis=0, kind="stable")  # [G, L]: per block its groups, cheapest first
    at = [0] * groups.source.blocks

    def gain(block: int, more: int) -> float:
        count = int(held[block])
        return float(rare[block] * (1.0 / count - 1.0 / (count + more)) - shared[block] * more)

    def offer(block: int) -> tuple[float, int, int] | None:
        """The block's next addition as (−gain per cost, block, holders); None where there is no gain."""
        while at[block] < len(queue_of):
            group = int(queue_of[at[block], block])
            more = min(int(partial.spare(block, group)), max(1, int(held[block]) // CHUNK))
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

    heap = [entry for block in range(groups.source.blocks) if (entry := offer(block)) is not None]
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
        partial.add(group, block, more)
        if left is not None:
            left -= more * int(extra[group, block])
        following = offer(block)
        if following is not None:
            heapq.heappush(heap, following)
    return counts
