"""Budgets of the demo's fleet, from the smallest that has an allocation to where every block is active everywhere."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from benchmarks.alternate import at_least, judged
from benchmarks.rows import Row, make_row
from zorba_ray.allocation import allocate, smallest_budgets
from zorba_ray.assignment import problem_of
from zorba_ray.config import load_config
from zorba_ray.experiment import prepare

STEPS = 5
"""Budgets; from one to the next the smallest client has room for one block more, or for several."""
DEVICE = "modelled"


def rows(quick: bool) -> list[Row]:
    """Blocks of the fleet by budget, and what activation saves with the demo's own budgets."""
    setup = prepare(load_config("demo", ["federation.backend=sequential"]))
    problem = problem_of(setup, setup.fleet.at(1))
    whole = problem.base_bytes + problem.active_bytes.sum(axis=1)
    smallest, largest = smallest_budgets(problem).factor, float((whole / problem.budget_bytes).max())
    blocks = []
    for factor in np.linspace(smallest, largest, 3 if quick else STEPS):
        budgets = np.minimum(np.ceil(factor * problem.budget_bytes).astype(np.int64), whole)
        answer = allocate(replace(problem, budget_bytes=budgets), 30.0, 1e-3)
        blocks.append(int(answer.active.matrix.sum()))
    rises = min(after - before for before, after in pairwise(blocks))
    saved = 100 * (1 - allocate(problem, 30.0, 1e-3).f2_bytes / int(whole.sum()))
    named = {
        "active blocks": ", ".join(map(str, blocks)),
        "budgets, times the demo's": f"{smallest:.3f} … {largest:.3f}",
    }
    rise = "demo: least rise of active blocks from one budget to the next"
    return [
        make_row(rise, [rises], "blocks", "≥ 1", rises >= 1, DEVICE, named),
        judged("demo: bytes saved, all blocks active in comparison", [saved], "%", at_least(30, " %"), DEVICE),
    ]
