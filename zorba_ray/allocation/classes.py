"""Merging equal clients into groups, and dealing the counts of a group back out to its clients.

Without this, N equal clients give N! equal answers and no gap closes; with it, programs for equal blocks do not grow
with N. Source: algorithm.md section 7 (ours).
"""

from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.allocation.problem import AllocationProblem, Objective, TimeObjective, VramObjective


@dataclass(frozen=True, eq=False)
class Merged:
    """The problem with equal clients merged: row g of every array stands for `size[g]` clients, counts are [G, L].

    A group of more than one has the same bytes for every block, so its budget is a number of blocks.
    """

    source: AllocationProblem
    """What was merged."""
    members: tuple[np.ndarray, ...]
    """G arrays of client indices, ascending; groups stand in the order of their first members."""
    size: np.ndarray
    """[G] int64: how many clients are merged in each group."""
    equal: np.ndarray
    """[G] bool: whether all blocks cost the same bytes there."""
    base_bytes: np.ndarray
    """[G] int64: of the first member; where members differ in it, only their capacities matter, which are equal."""
    active_bytes: np.ndarray
    """[G, L] int64 per member."""
    budget_bytes: np.ndarray
    """[G] int64 of the first member."""
    capacity: np.ndarray
    """[G] int64: the most blocks a member can hold by its budget and `max_blocks`; exact where `equal`, otherwise an
    upper bound (smallest blocks first)."""
    least: np.ndarray
    """[G] int64: the fewest blocks a member may hold."""
    required: np.ndarray
    """[G, L] bool: every member must hold the block."""
    forbidden: np.ndarray
    """[G, L] bool: no member may hold the block, or none could even alone."""
    block_seconds: np.ndarray | None
    """[G, L] float64, as in the problem."""
    stream_seconds: np.ndarray | None
    """[G, L] float64, as in the problem."""

    @property
    def clients(self) -> int:
        """N, not the number of groups."""
        return self.source.clients

    @property
    def blocks(self) -> int:
        """L."""
        return self.source.blocks

    @property
    def total_base(self) -> int:
        """Bytes of all clients together with no block active."""
        return self.source.total_base

    @property
    def room_bytes(self) -> np.ndarray:
        """[G] int64: budget less base, of the first members."""
        return self.budget_bytes - self.base_bytes

    @property
    def block_weight(self) -> np.ndarray:
        """[L] ω_b."""
        return self.source.block_weight

    @property
    def shared_cost(self) -> np.ndarray:
        """[L] γ_b."""
        return self.source.shared_cost

    @property
    def beta(self) -> float:
        """β."""
        return self.source.beta

    @property
    def epsilon(self) -> float:
        """ε."""
        return self.source.epsilon

    @property
    def coverage(self) -> int:
        """Every block is active on at least this many clients."""
        return self.source.coverage

    @property
    def order(self) -> tuple[Objective, ...]:
        """The lexicographic order."""
        return self.source.order

    @property
    def vram_objective(self) -> VramObjective:
        """Which f2."""
        return self.source.vram_objective

    @property
    def time_objective(self) -> TimeObjective:
        """Which f3."""
        return self.source.time_objective

    def with_budgets(self, budget_bytes: np.ndarray) -> "Merged":
        """The same groups under other budgets [G]. Members of a group must have equal budgets and bases."""
        budget_bytes = np.minimum(budget_bytes, self.budget_bytes)
        room = budget_bytes - self.base_bytes
        capacity = np.minimum(self.capacity, _capacity(self.active_bytes, room, self.equal))
        forbidden = self.forbidden | (self.active_bytes > room[:, None])
        return replace(self, budget_bytes=budget_bytes, capacity=capacity, forbidden=forbidden)

    def without(self, entries: np.ndarray) -> "Merged":
        """The same groups with `entries` [G, L] bool forbidden too."""
        return replace(self, forbidden=self.forbidden | entries)


def capacities(problem: AllocationProblem) -> np.ndarray:
    """[N] int64: how many blocks each client can hold at most, taking its smallest blocks first.

    Exact where a client's blocks cost the same, otherwise an upper bound for allocations that need larger blocks.
    """
    fits = _capacity(problem.active_bytes, problem.room_bytes, _equal_blocks(problem.active_bytes))
    return np.minimum(fits, problem.most_blocks)


def _equal_blocks(active_bytes: np.ndarray) -> np.ndarray:
    """[rows] bool: whether a row's blocks all cost the same."""
    if active_bytes.strides[0] == 0:  # one row, broadcast
        return np.broadcast_to((active_bytes[0] == active_bytes[0, 0]).all(), (len(active_bytes),))
    return (active_bytes == active_bytes[:, :1]).all(axis=1)


def _capacity(active_bytes: np.ndarray, room: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """[rows] int64: how many blocks fit into `room`, smallest first; 0 where the room is negative."""
    blocks = active_bytes.shape[1]
    one = active_bytes[:, 0]
    fits = np.where(one > 0, room // np.maximum(one, 1), np.where(room >= 0, blocks, 0)).clip(0, blocks)
    unequal = np.flatnonzero(~equal)
    if len(unequal):
        cheapest_first = np.sort(active_bytes[unequal], axis=1).cumsum(axis=1)
        fits[unequal] = (cheapest_first <= room[unequal, None]).sum(axis=1)
    return fits


def merge(problem: AllocationProblem) -> Merged:
    """Groups of equal clients.

    Clients are equal when all blocks cost the same bytes on them and they have the same cost per block, the same
    capacity in blocks, the same least number of blocks, and the same blocks that they must or must not hold. Base bytes
    then only add a constant to the total; for the worst share they matter, so there base and budget must be equal too.
    A client whose blocks differ in bytes keeps a row of its own, and so does everybody where time is an objective.
    """
    equal = _equal_blocks(problem.active_bytes)
    capacity = capacities(problem)
    columns = [problem.active_bytes[:, 0], capacity, problem.least_blocks]
    if problem.vram_objective == "worst_share":
        columns += [problem.base_bytes, problem.budget_bytes]
    for flags in (problem.must_hold, problem.must_not_hold):
        if flags is not None:
            columns += list(np.packbits(flags, axis=1).T)
    # One number per client, equal for clients that are equal in every column; apart for those that stay apart.
    apart = np.ones(problem.clients, dtype=bool) if "time" in problem.order else ~equal
    kind = np.where(apart, np.arange(1, problem.clients + 1), 0)
    for column in columns:
        if (column != column[0]).any():
            values, place = np.unique(column, return_inverse=True)
            kind = np.unique(kind * len(values) + place, return_inverse=True)[1]
    _, first, kind = np.unique(kind, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    group_of = rank[kind]
    by_group = np.argsort(group_of, kind="stable")
    size = np.bincount(group_of)
    first = np.sort(first)
    room = problem.room_bytes[first]
    active_bytes = problem.active_bytes[first]
    return Merged(
        source=problem,
        members=tuple(np.split(by_group, size.cumsum()[:-1])),
        size=size,
        equal=equal[first],
        base_bytes=problem.base_bytes[first],
        active_bytes=active_bytes,
        budget_bytes=problem.budget_bytes[first],
        capacity=capacity[first],
        least=problem.least_blocks[first],
        required=problem.required[first],
        forbidden=problem.forbidden[first] | (active_bytes > room[:, None]),
        block_seconds=None if problem.block_seconds is None else problem.block_seconds[first],
        stream_seconds=None if problem.stream_seconds is None else problem.stream_seconds[first],
    )


def deal(counts: np.ndarray, merged: Merged) -> np.ndarray:
    """[N, L] bool with these counts [G, L]: blocks in order, dealt round robin to the members of each group.

    A block goes to `counts[g, b]` members in a row of the circle, so nobody gets it twice while counts <= size, and
    the numbers of blocks per member differ by at most 1: with size·l <= Σ_b counts <= size·K every member holds l to K.
    """
    active = np.zeros((merged.clients, counts.shape[1]), dtype=bool)
    for members, row in zip(merged.members, counts, strict=True):
        size = len(members)
        assert ((row >= 0) & (row <= size)).all(), f"counts {row.tolist()} in a group of {size}"
        dealt = np.zeros((counts.shape[1], size), dtype=bool)
        turn = 0
        for block, count in enumerate(row.tolist()):
            end = turn + count
            dealt[block, turn:end] = True
            dealt[block, : max(end - size, 0)] = True
            turn = end % size
        active[members] = dealt.T
    return active
