"""Local search on f1: each client in turn takes the best set of blocks for it while all others stand still.

f1 is a sum over blocks of functions of N_b, so what a client's choice changes is a sum over its own blocks: a knapsack
with profits r_b (1/N_b⁻ − 1/(N_b⁻ + 1)) − s_b, where N_b⁻ counts the others. Every change lowers f1, so it ends.
Between two descents a few clients are moved at random (iterated local search). Ours.
"""

import time

import numpy as np

from zorba_ray.allocation.bounds import f1_terms
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.knapsack import Table

CELLS = 8_192
# Moves of `improve` per client, and clients moved at random before each descent. Counted and not timed, so that the
# answer is the same on a slow machine.
MOVES, KICKED = 20, 4
MARGIN = 1e-12


def descend(problem: Merged, start: np.ndarray, deadline: float) -> np.ndarray:
    """[G, L] int64: valid counts where no single client can lower f1; `start` must be valid, and is never better.

    Groups of several clients and clients with equal blocks are left as they are: the program handles those.
    """
    search = _Search(problem, start)
    search.descend(_movable(problem), deadline)
    return search.counts


def improve(problem: Merged, start: np.ndarray, target: float, deadline: float) -> np.ndarray:
    """[G, L] int64: `start`, itself the end of a descent, or counts with a smaller f1 after kicks and descents.

    Ends at f1 <= `target`, after its moves, or in time. The same start gives the same counts.
    """
    search, rows = _Search(problem, start), _movable(problem)
    best, best_f1 = start, search.f1()
    rng = np.random.default_rng(0)
    while rows and best_f1 > target and search.moves < MOVES * len(rows) and time.monotonic() < deadline:
        for row in rng.permutation(rows)[:KICKED].tolist():
            search.move(row, 1.0 + 0.3 * rng.standard_normal(problem.blocks), must_gain=False)
        search.descend(rows, deadline)
        if search.f1() < best_f1 * (1 - MARGIN):
            best, best_f1 = search.counts.copy(), search.f1()
        else:
            search.reset(best)
    return best


def _movable(problem: Merged) -> list[int]:
    return np.flatnonzero((problem.size == 1) & ~problem.equal).tolist()


class _Search:
    def __init__(self, problem: Merged, start: np.ndarray) -> None:
        self.problem = problem
        self.rare, self.shared = f1_terms(problem)
        self.tables: dict[int, Table] = {}
        self.moves = 0
        self.reset(start)

    def reset(self, counts: np.ndarray) -> None:
        self.counts = counts.copy()
        self.held = counts.sum(axis=0)

    def f1(self) -> float:
        return float((self.rare / self.held + self.shared * self.held).sum())

    def descend(self, rows: list[int], deadline: float) -> None:
        """Every client its best set, again and again until nobody changes."""
        while sum(self.move(row, None, must_gain=True) for row in rows) > 0:
            if time.monotonic() >= deadline:
                return

    def move(self, row: int, noise: np.ndarray | None, must_gain: bool) -> bool:
        """Give one client its best set; whether it changed. `noise` [L] multiplies what a block is worth to it."""
        self.moves += 1
        p, mine = self.problem, self.counts[row].astype(bool)
        others = self.held - mine
        forced = p.required[row] | (others < p.coverage)
        alone = np.maximum(others, 1)
        profit = self.rare * (1.0 / alone - 1.0 / (alone + 1)) - self.shared
        guided = profit if noise is None else profit * noise
        chosen = self._best(row, guided, forced)
        if chosen is None or (chosen == mine).all():
            return False
        if must_gain and profit[chosen & ~forced].sum() <= profit[mine & ~forced].sum() + MARGIN:
            return False
        self.counts[row] = chosen
        self.held = others + chosen
        return True

    def _best(self, row: int, profit: np.ndarray, forced: np.ndarray) -> np.ndarray | None:
        p, sizes = self.problem, self.problem.active_bytes[row]
        room = int(p.room_bytes[row]) - int(sizes[forced].sum())
        if room < 0:
            return None
        if row not in self.tables:
            self.tables[row] = Table(sizes, int(p.room_bytes[row]), CELLS, fits=True)
        table = self.tables[row]
        free = np.where(forced | p.forbidden[row], -1.0, profit)
        _, taken = table.solve(free)
        chosen = table.sets(taken, table.budget(np.array([room])))[0] | forced
        # What the rounded sizes left over.
        left = int(p.room_bytes[row]) - int(sizes[chosen].sum())
        for block in np.argsort(-free).tolist():
            if free[block] > 0 and not chosen[block] and sizes[block] <= left:
                chosen[block] = True
                left -= int(sizes[block])
        if int(chosen.sum()) > p.capacity[row]:
            droppable = np.flatnonzero(chosen & ~forced)
            excess = int(chosen.sum()) - int(p.capacity[row])
            chosen[droppable[np.argsort(free[droppable], kind="stable")[:excess]]] = False
        fits = p.least[row] <= chosen.sum() <= p.capacity[row]
        return chosen if fits else None
