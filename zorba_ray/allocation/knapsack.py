"""The 0/1 knapsack of one client by dynamic programming over bytes on a grid, for all budgets at once.

Rounded down, a table gives an upper bound of what fits (for bounds); rounded up, sets that do fit (for answers).
Source: the textbook recursion best(w) = max(best(w), best(w − w_b) + profit_b); the two roundings are ours.
"""

import numpy as np


class Table:
    """Best profits of one list of items for every budget up to `most`."""

    def __init__(self, sizes: np.ndarray, most: int, cells: int, fits: bool) -> None:
        """`sizes` [L] int64 bytes. `fits`: round so that sets keep their budget; else so that no set is missed."""
        self._step = max(1, -(-min(most, int(sizes.sum())) // cells))
        self.units = -(-sizes // self._step) if fits else sizes // self._step
        self.width = min(most // self._step, int(self.units.sum()))

    def budget(self, room: np.ndarray) -> np.ndarray:
        """Bytes [n] (>= 0) as places of the table."""
        return np.minimum(room // self._step, self.width)

    def solve(self, profit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Best profit per place [width + 1], and which items were taken at it [L, width + 1] bool.

        Only items with a profit above 0 are ever taken.
        """
        best = np.zeros(self.width + 1)
        taken = np.zeros((len(profit), self.width + 1), dtype=bool)
        for item in np.flatnonzero((profit > 0) & (self.units <= self.width)).tolist():
            unit = int(self.units[item])
            with_item = best[: self.width + 1 - unit] + profit[item]
            np.greater(with_item, best[unit:], out=taken[item, unit:])
            np.maximum(best[unit:], with_item, out=best[unit:])
        return best, taken

    def sets(self, taken: np.ndarray, places: np.ndarray) -> np.ndarray:
        """[n, L] bool: the item sets behind the best profits at `places` [n]."""
        chosen = np.zeros((len(places), len(taken)), dtype=bool)
        left = places.copy()
        for item in range(len(taken) - 1, -1, -1):
            chosen[:, item] = taken[item, left]
            left = left - np.where(chosen[:, item], self.units[item], 0)
        return chosen
