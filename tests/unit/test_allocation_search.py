"""The parts beside the program: knapsack tables, the Lagrangian bound, local search, exchanges, twins, merging."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.allocation.families import five_classes, unequal
from tests.support.enumerated import evaluate, every_allocation, random_full_problem
from zorba_ray.allocation import AllocationProblem, allocate, check, classes, objectives, step
from zorba_ray.allocation.balance import balance
from zorba_ray.allocation.dual import dual_bound
from zorba_ray.allocation.greedy import greedy
from zorba_ray.allocation.improve import descend, improve
from zorba_ray.allocation.knapsack import Table
from zorba_ray.allocation.twins import sorted_twins, twins

LATER = float("inf")


def small_unequal(clients: int, blocks: int, seed: int, **changes) -> AllocationProblem:
    """`unequal` in small numbers of bytes, so that budgets repeat and fit exactly."""
    rng = np.random.default_rng(seed)
    size = rng.integers(5, 15, blocks)
    settings = {
        "base_bytes": np.full(clients, 10),
        "active_bytes": np.tile(size, (clients, 1)),
        "budget_bytes": 10 + rng.integers(15, size.sum(), clients),
        "block_weight": rng.uniform(0.5, 1.5, blocks),
        "epsilon": 0.1,
    }
    return AllocationProblem.plain(**{**settings, **changes})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cells", [40, 10_000])
def test_tables_enclose_the_best_set(seed: int, cells: int):
    rng = np.random.default_rng(seed)
    sizes, profit = rng.integers(5, 100, 8), rng.uniform(-0.5, 1.0, 8)
    sets = np.array(list(itertools.product((False, True), repeat=8)))
    rooms = rng.integers(0, sizes.sum() + 20, 12)
    best = [float((sets[sets @ sizes <= room] @ profit).max()) for room in rooms]
    for fits in (False, True):
        table = Table(sizes, int(rooms.max()), cells, fits)
        values, taken = table.solve(profit)
        places = table.budget(rooms)
        chosen = table.sets(taken, places)
        np.testing.assert_allclose(chosen @ profit, values[places])  # the sets are those behind the values
        if fits:
            assert (chosen @ sizes <= rooms).all()
            assert (values[places] <= np.array(best) + 1e-12).all()
        else:
            assert (values[places] >= np.array(best) - 1e-12).all()
        if cells > sizes.sum():  # one byte per cell: exact
            np.testing.assert_allclose(values[places], best)


def test_dual_bound_is_a_bound_and_a_good_one():
    gaps = []
    for seed in range(80):
        problem = random_full_problem(seed)
        matrices = every_allocation(problem)
        merged = classes.merge(problem)
        start = greedy(merged, "convergence")
        if len(matrices) == 0 or start is None:
            continue
        optimum = float(evaluate(problem, matrices)["convergence"].min())
        bound = dual_bound(merged, start, 0.0, LATER)
        assert bound <= optimum * (1 + 1e-9), f"seed {seed}"
        gaps.append(1 - bound / optimum)
    assert len(gaps) >= 30
    assert np.median(gaps) < 0.02


def test_local_search_and_bound_meet_on_a_large_fleet():
    """Unequal 32 x 12: bound and local search enclose the optimum within 1 %, without any program."""
    problem = small_unequal(32, 12, seed=0)
    merged = classes.merge(problem)
    start = greedy(merged, "convergence")
    assert start is not None
    better = descend(merged, start, LATER)
    assert objectives.f1(better, merged) < objectives.f1(start, merged)
    best = improve(merged, better, 0.0, LATER)
    assert objectives.f1(best, merged) <= objectives.f1(better, merged)
    for counts in (better, best):
        assert step.is_valid(merged, counts)
        assert check(problem, classes.deal(counts, merged)) == []
    bound = dual_bound(merged, best, 0.0, LATER)
    assert 0 <= 1 - bound / objectives.f1(best, merged) < 0.01
    # Counted and not timed: the same again.
    assert (improve(merged, better, 0.0, LATER) == best).all()


def test_local_search_keeps_rules_coverage_and_limits():
    for seed in range(60):
        problem = random_full_problem(seed)
        merged = classes.merge(problem)
        start = greedy(merged, "convergence")
        if start is None:
            continue
        for counts in (descend(merged, start, LATER), balance(merged, start)):
            assert step.is_valid(merged, counts), f"seed {seed}"
            assert objectives.f1(counts, merged) <= objectives.f1(start, merged) * (1 + 1e-12)


def test_a_deadline_in_the_past_ends_the_search():
    problem = unequal(16, 8, seed=1)
    merged = classes.merge(problem)
    start = greedy(merged, "convergence")
    assert start is not None
    began = time.monotonic()
    answer = step.minimise(merged, "convergence", (), start, 0.0, deadline=began)
    assert answer == step.StepAnswer(start, float("-inf"), "limit", False)
    assert dual_bound(merged, start, 0.0, began) == float("-inf")


def test_exchanges_find_the_optimum_of_one_class():
    """One class: min Σ ω/N_b with Σ N_b fixed, and the best counts are those where no exchange helps."""
    problem = five_classes(500, 8)
    problem = replace(problem, budget_bytes=np.full(500, problem.budget_bytes[1]))
    merged = classes.merge(problem)
    total = 500 * 5
    flat = np.full((1, 8), total // 8)
    flat[0, 0] += total - int(flat.sum())
    found = balance(merged, flat)
    # The continuous optimum is in proportion to √ω; whole numbers next to it.
    root = np.sqrt(problem.block_weight)
    np.testing.assert_allclose(found[0], total * root / root.sum(), atol=1.0)
    assert int(found.sum()) == total


@pytest.mark.parametrize("clients", [100, 20_000])
def test_classes_are_merged_and_proven_whatever_their_size(clients: int):
    problem = five_classes(clients)
    merged = classes.merge(problem)
    assert merged.active_bytes.shape == (5, 32)
    answer = allocate(problem, 60.0, 1e-3)
    assert {done.status for done in answer.steps} == {"optimal"}
    assert check(problem, answer.active) == []
    assert answer.f2_bytes == objectives.f2_bytes(answer.active, problem)
    assert answer.f1 == pytest.approx(objectives.f1(answer.active, problem), rel=1e-12)
    assert answer.worst_share == objectives.worst_share(answer.active, problem)


def test_one_row_for_all_stays_one_row():
    problem = five_classes(1_000)
    assert problem.active_bytes.strides[0] == 0
    assert problem.active_bytes.shape == (1_000, 32)


def test_rules_split_classes():
    problem = five_classes(50)
    must = np.zeros((50, 32), dtype=bool)
    must[[0, 5], 3] = True  # two of the class with two places
    merged = classes.merge(replace(problem, must_hold=must))
    assert merged.members[0].tolist() == [0, 5]
    assert len(merged.size) == 6
    seconds = np.ones((50, 32))
    timed = replace(problem, block_seconds=seconds, order=("convergence", "time"))
    assert len(classes.merge(timed).size) == 50


def test_twins_keep_an_order_and_the_optimum():
    problem = small_unequal(6, 5, seed=0, budget_bytes=np.array([40, 50, 40, 40, 50, 45]))
    merged = classes.merge(problem)
    found = twins(merged)
    assert found == {2: 0, 3: 2, 4: 1}
    counts = np.zeros((6, 5), dtype=np.int64)
    for row, held in enumerate([1, 2, 3, 2, 4, 5]):
        counts[row, :held] = 1
    ordered = sorted_twins(counts, found)
    assert ordered.sum(axis=1).tolist() == [3, 4, 2, 1, 2, 5]
    assert (ordered.sum(axis=0) == counts.sum(axis=0)).all()
    # The order among twins costs nothing: small enough to enumerate.
    small = small_unequal(4, 4, seed=1, budget_bytes=np.array([35, 35, 35, 40]))
    optimum = float(evaluate(small, every_allocation(small))["convergence"].min())
    answer = step._solve(
        classes.merge(small), classes.merge(small), "convergence", (), None, float("-inf"), 0.0, time.monotonic() + 30
    )
    assert answer.bound == pytest.approx(optimum, rel=1e-6)
