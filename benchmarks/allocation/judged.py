"""Promises, not figures: how often the solver or the checker disagrees with the enumeration of all matrices."""

import numpy as np

from benchmarks.rows import Row, make_row
from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import check

FEASIBLE, MATRICES = 200, 10_000
# Matrices judged per instance.
TRIALS = 20


def enumeration(quick: bool) -> list[Row]:
    """Both families of up to 4 × 4, until enough feasible instances were seen: wrong steps or dominated points."""
    from tests.support.enumerated import compare_with_enumeration, random_full_problem, random_problem

    wanted, found = 20 if quick else FEASIBLE, []
    for name, family in (("f1, f2", random_problem), ("rules, f3, any order", random_full_problem)):
        seed = feasible = wrong = 0
        while feasible < wanted:
            try:
                feasible += compare_with_enumeration(family(seed), seed)
            except AssertionError:
                feasible, wrong = feasible + 1, wrong + 1
            seed += 1
        row = f"brute force, up to 4×4, {name}: wrong of {feasible} feasible and {seed - feasible} infeasible"
        found.append(make_row(row, [wrong], "instances", "0", wrong == 0))
    return found


def checker(quick: bool) -> list[Row]:
    """Random matrices, every other one next to a valid one."""
    from tests.support.enumerated import every_allocation, random_full_problem, random_matrix

    judged = wrong = valid = 0
    for seed in range((500 if quick else MATRICES) // TRIALS):
        problem = random_full_problem(seed)
        matrices = every_allocation(problem)
        known = {matrix.tobytes() for matrix in matrices}
        rng = np.random.default_rng(seed)
        for trial in range(TRIALS):
            active = random_matrix(problem, matrices, rng, near=trial % 2 == 1)
            expected = active.tobytes() in known
            wrong += (check(problem, ActiveSets(active)) == []) != expected
            valid += expected
            judged += 1
    row = f"checker against enumeration: wrong of {judged:,} matrices, {valid:,} of them valid"
    return [make_row(row, [wrong], "matrices", "0", wrong == 0)]
