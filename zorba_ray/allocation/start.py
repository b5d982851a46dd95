"""A fast deterministic heuristic: a comparator, the starting point of the solver, and the result if time runs out.

`_cover` meets the coverage with few bytes. `_fill` then adds the block that improves f1 most per byte, until a cap is
met. Both work on counts [G, L] of groups of equal clients. A block with many holders gets several at once. The
heuristic proves nothing. Source: the constraints of docs/algorithm.md section 7; the heuristic is ours.
"""

import heapq

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import Groups
from zorba_ray.allocation.objectives import Caps
from zorba_ray.allocation.problem import Objective

# A block with N_b holders gets N_b / CHUNK more at a time: up to 2 · CHUNK holders one by one, then larger steps.
CHUNK = 64


def greedy(groups: Groups, objective: Objective, caps: Caps = ()) -> np.ndarray | None:
    """[G, L] int64: valid counts that satisfy the caps and are good for the objective; None: the heuristic finds none.

    None does not mean that the problem is infeasible. Only the solver looks at round time.
    """
    narrowed = objectives.within_share(groups, caps)
    # The cheapest clients first saves bytes. The clients with the most slack first always works if blocks cost the
    # same.
    counts = _cover(narrowed, by_slack=False)
    counts = _cover(narrowed, by_slack=True) if counts is None else counts
    f1_caps = [cap.limit for cap in caps if cap.objective == "convergence"]
    if counts is not None and (objective == "convergence" or f1_caps):
        totals = [int(cap.limit) for cap in caps if cap.objective == "vram" and not cap.is_share(groups)]
        counts = _fill(narrowed, counts, min(f1_caps, default=None), min(totals, default=None))
    return counts if counts is not None and objectives.are_kept(caps, counts, groups) else None


class _Partial:
    """Counts [G, L] while they grow. A group of equal blocks has places left; any other row is one client with bytes
    left."""

    def __init__(self, groups: Groups, start: np.ndarray) -> None:
        self.groups = groups
        self.counts = start.astype(np.int64)
        self.held = self.counts.sum(axis=0)
        self.places = groups.size * groups.capacity - self.counts.sum(axis=1)
        self.bytes_left = groups.slack_bytes - (self.counts * groups.active_bytes).sum(axis=1)  # unused if blocks equal

    def spare(self, block: int, rows: int | slice = slice(None)) -> np.ndarray:
        """int64: how many more members of the groups `rows` could hold the block."""
        p = self.groups
        fits = p.equal[rows] | (p.active_bytes[rows, block] <= self.bytes_left[rows])
        more = np.minimum(p.size[rows] - self.counts[rows, block], self.places[rows])
        return np.where(fits & ~p.forbidden[rows, block], more, 0)

    def copies(self, block: int) -> np.ndarray:
        """[G] float64: slack per member, as a number of copies of this block, so that clients can be compared."""
        p, places = self.groups, self.places / self.groups.size
        in_bytes = self.bytes_left / np.maximum(p.active_bytes[:, block], 1)
        return np.where(p.equal, places, np.minimum(places, in_bytes))

    def add(self, group: int, block: int, more: int) -> None:
        """Gives the block to `more` members."""
        self.counts[group, block] += more
        self.held[block] += more
        self.places[group] -= more
        self.bytes_left[group] -= more * self.groups.active_bytes[group, block]


def _cover(groups: Groups, by_slack: bool) -> np.ndarray | None:
    """[G, L] int64: every block on `coverage` clients, and every client with its least number, in few bytes; or
    None."""
    partial, cost = _Partial(groups, groups.low), groups.active_bytes
    is_kept = (partial.places >= 0) & (groups.equal | (partial.bytes_left >= 0))
    if (groups.required & groups.forbidden).any() or not is_kept.all():
        return None
    # Blocks that few clients may hold, and large blocks, come first: they are the hardest to place.
    for block in np.lexsort((-cost.sum(axis=0), groups.high.sum(axis=0))).tolist():
        while (short := groups.source.coverage - int(partial.held[block])) > 0:
            spare, copies = partial.spare(block), partial.copies(block)
            keys = (cost[:, block], -copies) if by_slack else (-copies, cost[:, block])
            order = np.lexsort(keys)
            group = next((g for g in order.tolist() if spare[g] > 0), None)
            if group is None:
                return None
            # With `by_slack` only a part at once: afterwards another group may have more slack.
            partial.add(group, block, min(short, int(spare[group]), max(1, short // 8) if by_slack else short))
    for group in range(len(cost)):
        while (short := int(groups.size[group] * groups.least[group] - partial.counts[group].sum())) > 0:
            # The cheapest block; of equal ones the one with the fewest holders.
            order = np.lexsort((partial.held, cost[group])).tolist()
            block = next((block for block in order if partial.spare(block, group) > 0), None)
            if block is None:
                return None
            even = max(1, int(groups.size[group]) // CHUNK)
            partial.add(group, block, min(short, int(partial.spare(block, group)), even))
    return partial.counts


def _fill(groups: Groups, start: np.ndarray, f1_cap: float | None = None, total_cap: int | None = None) -> np.ndarray:
    """[G, L] int64: `start` plus the additions that lower f1 most per byte, within all budgets.

    Stops at f1 <= f1_cap if given; never exceeds `total_cap` bytes. Slack only shrinks, so an addition that does not
    fit never fits later: each block goes through its groups once, from the cheapest on.
    """
    partial, extra = _Partial(groups, start), groups.active_bytes
    holders, counts = partial.held, partial.counts
    bytes_left = None if total_cap is None else total_cap - objectives.f2_bytes(counts, groups)
    rare, shared = objectives.f1_terms(groups)
    f1_now = objectives.f1(counts, groups)
    is_share = groups.source.vram_objective == "worst_share"
    cost = extra / groups.budget_bytes[:, None] if is_share else extra
    queue_of = np.argsort(cost, axis=0, kind="stable")  # [G, L]: per block its groups, cheapest first
    next_group = [0] * groups.source.blocks

    def gain(block: int, more: int) -> float:
        count = int(holders[block])
        return float(rare[block] * (1.0 / count - 1.0 / (count + more)) - shared[block] * more)

    def offer(block: int) -> tuple[float, int, int] | None:
        """The block's next addition, as (−gain per cost, block, new holders); None: no addition lowers f1."""
        while next_group[block] < len(queue_of):
            group = int(queue_of[next_group[block], block])
            more = min(int(partial.spare(block, group)), max(1, int(holders[block]) // CHUNK))
            if bytes_left is not None and extra[group, block] > 0:
                more = min(more, bytes_left // int(extra[group, block]))
            if more > 0:
                better = gain(block, more)
                if better <= 0 and more > 1:
                    more, better = 1, gain(block, 1)
                price = float(cost[group, block]) * more
                return (-better / price if price > 0 else -np.inf, block, more) if better > 0 else None
            next_group[block] += 1
        return None

    heap = [entry for block in range(groups.source.blocks) if (entry := offer(block)) is not None]
    heapq.heapify(heap)
    while heap and (f1_cap is None or f1_now > f1_cap):
        promised, block, _ = heapq.heappop(heap)
        now = offer(block)
        if now is None:
            continue
        if now[0] > promised:  # its group is full by now, and the next one costs more
            heapq.heappush(heap, now)
            continue
        group, more = int(queue_of[next_group[block], block]), now[2]
        if f1_cap is not None:
            # Halved while the cap is still met, so that not many more holders are added than the cap needs.
            while more > 1 and f1_now - gain(block, more // 2) <= f1_cap:
                more //= 2
        f1_now -= gain(block, more)
        partial.add(group, block, more)
        if bytes_left is not None:
            bytes_left -= more * int(extra[group, block])
        following = offer(block)
        if following is not None:
            heapq.heappush(heap, following)
    return counts
