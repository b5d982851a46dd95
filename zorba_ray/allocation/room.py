"""What still fits: counts of a partial allocation beside the bytes and places that its groups have left."""

import numpy as np

from zorba_ray.allocation.classes import Merged


class Room:
    """Counts [G, L] under change. A group of equal blocks has places left, any other row (one client) bytes."""

    def __init__(self, problem: Merged, start: np.ndarray | None = None) -> None:
        """Begins with `start`, or with the blocks that must be held."""
        self.problem = problem
        self.counts = (problem.size[:, None] * problem.required if start is None else start).astype(np.int64)
        self.held = self.counts.sum(axis=0)
        self.total = self.counts.sum(axis=1)
        self._most = problem.size * problem.capacity
        self._bytes = problem.room_bytes - (self.counts * problem.active_bytes).sum(axis=1)  # not used where equal

    def is_kept(self) -> bool:
        """Whether the counts keep all budgets and limits from above."""
        bytes_kept = self.problem.equal | (self._bytes >= 0)
        return bool((bytes_kept & (self.total <= self._most)).all())

    def spare_of(self, block: int) -> np.ndarray:
        """[G] int64: how many more members of each group could hold the block."""
        p = self.problem
        fits = p.equal | (p.active_bytes[:, block] <= self._bytes)
        more = np.minimum(p.size - self.counts[:, block], self._most - self.total)
        return np.where(fits & ~p.forbidden[:, block], more, 0)

    def spare(self, group: int, block: int) -> int:
        """How many more members of one group could hold the block."""
        p = self.problem
        if p.forbidden[group, block] or (not p.equal[group] and p.active_bytes[group, block] > self._bytes[group]):
            return 0
        return int(min(p.size[group] - self.counts[group, block], self._most[group] - self.total[group]))

    def places(self, block: int) -> np.ndarray:
        """[G] float64: room per member in copies of this block, so that large and small clients compare."""
        p = self.problem
        left = (self._most - self.total) / p.size
        in_bytes = self._bytes / np.maximum(p.active_bytes[:, block], 1)
        return np.where(p.equal, left, np.minimum(left, in_bytes))

    def can_swap(self, group: int, out: int, block: int) -> bool:
        """Whether a member could hold `block` in the place of `out`."""
        p = self.problem
        freed = int(self._bytes[group]) + int(p.active_bytes[group, out])
        return bool(p.equal[group]) or freed >= int(p.active_bytes[group, block])

    def add(self, group: int, block: int, more: int) -> None:
        """`more` members take the block; fewer than 0 give it back."""
        self.counts[group, block] += more
        self.held[block] += more
        self.total[group] += more
        self._bytes[group] -= more * self.problem.active_bytes[group, block]
