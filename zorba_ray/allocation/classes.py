"""Merges equal clients into groups, and turns the solution of a group into active sets of its clients.

Without this, N equal clients give N! equal solutions, and the solver cannot close the gap. With it, the program does
not grow with N if all blocks are equal. Source: docs/algorithm.md section 7 (ours).
"""

from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation.problem import AllocationProblem


@dataclass(frozen=True, eq=False)
class Groups:
    """The problem with equal clients merged: row g of every array stands for `size[g]` clients.

    Allocations are counts, int64 [G, L]: how many members of group g hold block b. A group of more than one has the
    same bytes for every block, so its budget is a number of blocks.
    """

    source: AllocationProblem
    """The problem before merging. It has what does not belong to single clients: weights, β, ε, coverage, order."""
    members: tuple[np.ndarray, ...]
    """G arrays of client indices, ascending; groups stand in the order of their first members."""
    size: np.ndarray
    """[G] int64: how many clients are merged in each group."""
    equal: np.ndarray
    """[G] bool: whether all blocks cost the same bytes on these clients."""
    base_bytes: np.ndarray
    """[G] int64 of the first member. Members may differ in it; then only their capacities matter, which are equal."""
    active_bytes: np.ndarray
    """[G, L] int64 per member."""
    budget_bytes: np.ndarray
    """[G] int64 of the first member."""
    capacity: np.ndarray
    """[G] int64: the largest number of blocks that a member can hold, by its budget and `max_blocks`. Exact where
    `equal`; otherwise an upper bound, from the smallest blocks."""
    least: np.ndarray
    """[G] int64: the fewest blocks a member may hold."""
    required: np.ndarray
    """[G, L] bool: every member must hold the block."""
    forbidden: np.ndarray
    """[G, L] bool: no member may hold the block, or it does not fit even as the only block."""
    block_seconds: np.ndarray | None
    """[G, L] float64, as in the problem."""
    stream_seconds: np.ndarray | None
    """[G, L] float64, as in the problem."""

    @property
    def slack_bytes(self) -> np.ndarray:
        """[G] int64: budget minus base, of the first members."""
        return self.budget_bytes - self.base_bytes

    @property
    def low(self) -> np.ndarray:
        """[G, L] int64: the smallest number of members of each group that may hold each block, by the rules."""
        return self.size[:, None] * self.required

    @property
    def high(self) -> np.ndarray:
        """[G, L] int64: the largest number of members of each group that may hold each block, by the rules."""
        return self.size[:, None] * ~self.forbidden

    def within(self, budget_bytes: np.ndarray) -> "Groups":
        """The same groups with smaller budgets [G]. Members of a group must have equal budgets and bases."""
        slack = budget_bytes - self.base_bytes
        capacity = np.minimum(self.capacity, _capacity(self.active_bytes, slack, self.equal))
        forbidden = self.forbidden | (self.active_bytes > slack[:, None])
        return replace(self, budget_bytes=budget_bytes, capacity=capacity, forbidden=forbidden)

    def accepts(self, counts: np.ndarray) -> bool:
        """Whether counts [G, L] keep every constraint, in exact bytes."""
        total, used = counts.sum(axis=1), (counts * self.active_bytes).sum(axis=1)
        return bool(
            ((self.low <= counts) & (counts <= self.high)).all()
            and (counts.sum(axis=0) >= self.source.coverage).all()
            and ((self.size * self.least <= total) & (total <= self.size * self.capacity)).all()
            and (self.equal | (used <= self.slack_bytes)).all()
        )


def capacities(problem: AllocationProblem) -> np.ndarray:
    """[N] int64: the largest number of blocks that each client can hold, from its smallest blocks on.

    Exact if a client's blocks all cost the same, otherwise an upper bound.
    """
    fits = _capacity(problem.active_bytes, problem.slack_bytes, _equal_blocks(problem.active_bytes))
    return np.minimum(fits, problem.most_blocks)


def _equal_blocks(active_bytes: np.ndarray) -> np.ndarray:
    """[rows] bool: whether a row's blocks all cost the same."""
    if active_bytes.strides[0] == 0:  # one row, broadcast
        return np.broadcast_to((active_bytes[0] == active_bytes[0, 0]).all(), (len(active_bytes),))
    return (active_bytes == active_bytes[:, :1]).all(axis=1)


def _capacity(active_bytes: np.ndarray, slack: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """[rows] int64: how many blocks fit into `slack`, smallest first; 0 where it is negative."""
    blocks, first = active_bytes.shape[1], active_bytes[:, 0]
    fits = np.where(first > 0, slack // np.maximum(first, 1), np.where(slack >= 0, blocks, 0)).clip(0, blocks)
    unequal = np.flatnonzero(~equal)
    if len(unequal):
        cheapest_first = np.sort(active_bytes[unequal], axis=1).cumsum(axis=1)
        fits[unequal] = (cheapest_first <= slack[unequal, None]).sum(axis=1)
    return fits


def merge(problem: AllocationProblem) -> Groups:
    """Groups of equal clients.

    Clients are equal if all blocks cost the same bytes on them and they have the same cost per block, the same capacity
    in blocks, the same least number of blocks, and the same blocks that they must or must not hold. Their base bytes
    may differ, because these only add a constant to the total. For the worst share base and budget must be equal, too.
    A client whose blocks differ in bytes is a group of its own. If time is an objective, every client is.
    """
    equal = _equal_blocks(problem.active_bytes)
    capacity = capacities(problem)
    columns = [problem.active_bytes[:, 0], capacity, problem.least_blocks]
    if problem.vram_objective == "worst_share":
        columns += [problem.base_bytes, problem.budget_bytes]
    for flags in (problem.must_hold, problem.must_not_hold):
        if flags is not None:
            columns += list(np.packbits(flags, axis=1).T)
    # `kind` is one number per client: the same for clients that are equal in every column, unique for `single` ones.
    single = np.ones(problem.clients, dtype=bool) if "time" in problem.order else ~equal
    kind = np.where(single, np.arange(1, problem.clients + 1), 0)
    for column in columns:
        if (column != column[0]).any():
            values, value = np.unique(column, return_inverse=True)
            kind = np.unique(kind * len(values) + value, return_inverse=True)[1]
    # Kinds are renumbered in the order of their first clients.
    _, first, kind = np.unique(kind, return_index=True, return_inverse=True)
    kind = np.argsort(np.argsort(first))[kind]
    size, first = np.bincount(kind), np.sort(first)
    base, budget, active_bytes = problem.base_bytes[first], problem.budget_bytes[first], problem.active_bytes[first]
    return Groups(
        source=problem,
        members=tuple(np.split(np.argsort(kind, kind="stable"), size.cumsum()[:-1])),
        size=size,
        equal=equal[first],
        base_bytes=base,
        active_bytes=active_bytes,
        budget_bytes=budget,
        capacity=capacity[first],
        least=problem.least_blocks[first],
        required=problem.required[first],
        forbidden=problem.forbidden[first] | (active_bytes > (budget - base)[:, None]),
        block_seconds=None if problem.block_seconds is None else problem.block_seconds[first],
        stream_seconds=None if problem.stream_seconds is None else problem.stream_seconds[first],
    )


def deal(counts: np.ndarray, groups: Groups) -> ActiveSets:
    """Active sets with these counts [G, L]: the blocks are given to the members of each group in turn (round robin).

    A block goes to the next `counts[g, b]` members of the circle. So no member gets it twice while counts <= size, and
    the numbers of blocks per member differ by at most 1: with size·l <= Σ_b counts <= size·K every member has l to K.
    """
    active = np.zeros((groups.source.clients, counts.shape[1]), dtype=bool)
    for members, row in zip(groups.members, counts, strict=True):
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
    return ActiveSets(active)
