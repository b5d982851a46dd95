"""A lower bound of f1 that is stronger than the linear relaxation: the Lagrangian dual of the coupling.

N_b = Σ_n a_{n,b} is priced with λ_b. What is left falls apart: one convex problem per block in N_b alone, and one
knapsack per client with profits λ_b, solved over whole numbers, so that the bound knows that budgets hold whole blocks.
With f1 = Σ_b r_b/N_b + s_b N_b,

    D(λ) = Σ_b min_c (r_b/c + s_b c + λ_b c) − Σ_n max_{A_n} Σ_{b∈A_n} λ_b

is a bound for every λ. Ascent by subgradients with Polyak's step towards the best known value.
Source: the program of algorithm.md section 7; Polyak's step: B. Polyak, Minimization of unsmooth functionals (1969).
"""

import time

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.bounds import best_counts, f1_terms
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.knapsack import Table

# Steps of the ascent; seen: the last hundred bring less than 0.02 %.
ITERATIONS = 300
# Steps without a better bound after which the step length is halved.
PATIENCE = 12
# Cells of all knapsack tables together, and the fewest and most of one.
CELLS, FEWEST, MOST = 1_600_000, 2_000, 50_000


def dual_bound(problem: Merged, start: np.ndarray, gap: float, deadline: float) -> float:
    """A proven lower bound of f1 under the problem's constraints.

    `start` [G, L]: the best counts known, the ascent's target. Stops early where it proves them within `gap`.
    """
    rare, shared = f1_terms(problem)
    tables = _tables(problem)
    target = objectives.f1(start, problem)
    held = start.sum(axis=0)
    # What one more holder is worth at the start: about what the best prices are.
    price = np.maximum(rare / (held * (held + 1)) - shared, 1e-12)
    scale = np.maximum(price, 1e-3 * price.max())  # steps in proportion to the prices themselves
    best, best_price, stale, length = -np.inf, price, 0, 1.0
    for _ in range(ITERATIONS):
        if time.monotonic() >= deadline or best >= target * (1 - gap):
            break
        counts = best_counts(problem, rare, shared + price)
        profit, taken = _clients(problem, tables, price)
        bound = float((rare / counts + (shared + price) * counts).sum()) - profit
        if bound > best + 1e-9 * target:
            best, best_price, stale = bound, price, 0
        else:
            stale += 1
            if stale == PATIENCE:
                price, stale, length = best_price, 0, length / 2
                continue
        slope = (counts - taken) * scale
        size = float(slope @ slope)
        if size == 0:
            break
        price = price + length * max(target - bound, 1e-6 * target) / size * slope * scale
    return best


def _clients(
    problem: Merged, tables: list[tuple[np.ndarray, Table | None]], price: np.ndarray
) -> tuple[float, np.ndarray]:
    """Best profits of all clients together, and the holders [L] at them."""
    total, held = 0.0, np.zeros(problem.blocks)
    for rows, table in tables:
        chosen = _best_places(problem, rows, price) if table is None else _packed(problem, rows, table, price)
        size = problem.size[rows]
        total += float((size[:, None] * chosen * price).sum())
        held += size @ chosen
    return total, held


def _packed(problem: Merged, rows: np.ndarray, table: Table, price: np.ndarray) -> np.ndarray:
    """[rows, L]: the blocks of each client by its knapsack, those it must hold included, and at least one."""
    must, never = problem.required[rows[0]], np.logical_and.reduce(problem.forbidden[rows], axis=0)
    room = problem.room_bytes[rows] - int(problem.active_bytes[rows[0]][must].sum())
    _, taken = table.solve(np.where(must | never, -1.0, price))
    chosen = table.sets(taken, table.budget(np.maximum(room, 0))) | must
    empty = np.flatnonzero(~chosen.any(axis=1))
    if len(empty):
        allowed = np.where(problem.forbidden[rows[empty]], -np.inf, price)
        chosen[empty, allowed.argmax(axis=1)] = True
    return chosen


def _best_places(problem: Merged, rows: np.ndarray, price: np.ndarray) -> np.ndarray:
    """[rows, L]: blocks of equal bytes, the best paid first, between the least and the most of each row."""
    chosen = np.zeros((len(rows), problem.blocks), dtype=bool)
    for place, row in enumerate(rows.tolist()):
        order = np.lexsort((-price, ~problem.required[row]))
        order = order[~problem.forbidden[row][order]]
        wanted = (price[order] > 0) | problem.required[row][order]
        count = min(max(int(wanted.sum()), int(problem.least[row])), int(problem.capacity[row]))
        chosen[place, order[:count]] = True
    return chosen


def _tables(problem: Merged) -> list[tuple[np.ndarray, Table | None]]:
    """Rows that share bytes and rules, each list with its table; None where blocks cost the same."""
    explicit = problem.forbidden & (problem.active_bytes <= problem.room_bytes[:, None])
    kinds: dict[bytes, list[int]] = {}
    for row in range(len(problem.size)):
        key = problem.active_bytes[row].tobytes() + problem.required[row].tobytes() + explicit[row].tobytes()
        kinds.setdefault(key, []).append(row)
    lists = [np.array(rows) for rows in kinds.values()]
    packed = sum(not problem.equal[rows[0]] for rows in lists)
    cells = int(np.clip(CELLS // max(packed * problem.blocks, 1), FEWEST, MOST))
    return [
        (
            rows,
            None
            if problem.equal[rows[0]]
            else Table(problem.active_bytes[rows[0]], max(int(problem.room_bytes[rows].max()), 0), cells, fits=False),
        )
        for rows in lists
    ]
