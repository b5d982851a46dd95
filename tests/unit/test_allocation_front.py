"""The Pareto front over ε: ends, order, what is left out, and its bounds, against all matrices of tiny problems."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.support.enumerated import every_allocation, random_problem
from tests.support.fleets import equal_blocks, unequal_blocks
from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, allocate, front, objectives
from zorba_ray.allocation.front import Omitted, pareto_front, proven
from zorba_ray.errors import AllocationInfeasible, ConfigError


def values(problem: AllocationProblem, active: np.ndarray) -> tuple[float, ...]:
    return tuple(objectives.value(objective, active, problem) for objective in problem.order)


def all_values(problem: AllocationProblem) -> np.ndarray:
    """[M, 2]: the objectives of every valid matrix."""
    return np.array([values(problem, active) for active in every_allocation(problem)])


@pytest.mark.parametrize("order", [("convergence", "vram"), ("vram", "convergence")])
@pytest.mark.parametrize("vram", ["total_bytes", "worst_share"])
def test_ends_are_the_best_of_each_objective_and_the_front_is_monotone(order, vram):
    problem = unequal_blocks(3, 4, seed=5, order=order, vram_objective=vram)
    found = pareto_front(problem, 7, time_limit_s=30.0, gap=0.0)
    reached = np.array([values(problem, point.allocation.active.matrix) for point in found.points])
    assert len(reached) > 2
    assert (np.diff(reached[:, 0]) > 0).all()
    assert (np.diff(reached[:, 1]) < 0).all()
    best = all_values(problem).min(axis=0)
    np.testing.assert_allclose([reached[0, 0], reached[-1, 1]], best, rtol=1e-9)
    for point in found.points:
        assert [entry.objective for entry in point.proven] == list(order)
        np.testing.assert_allclose([entry.best for entry in point.proven], best, rtol=1e-5)
        assert all(entry.best <= entry.bound <= entry.value for entry in point.proven)


@pytest.mark.parametrize("seed", range(8))
def test_every_point_is_pareto_optimal_among_all_matrices(seed):
    problem = random_problem(seed)
    every = all_values(problem)
    if not len(every):
        with pytest.raises(AllocationInfeasible):
            pareto_front(problem, 5, time_limit_s=20.0, gap=0.0)
        return
    found = pareto_front(problem, 5, time_limit_s=20.0, gap=0.0)
    for point in found.points:
        own = np.array(values(problem, point.allocation.active.matrix))
        better = (every <= own * (1 + 1e-9)).all(axis=1) & (every < own * (1 - 1e-6)).any(axis=1)
        assert not better.any()
    grid = {point.epsilon for point in found.points} | {entry.epsilon for entry in found.omitted}
    assert grid == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_the_middles_between_equal_ends_are_not_solved(monkeypatch):
    """One client must hold everything: one point, whatever ε."""
    problem = equal_blocks([4], 4)
    calls = []

    def counted(changed, time_limit_s, gap):
        calls.append(changed.epsilon)
        return allocate(changed, time_limit_s, gap)

    monkeypatch.setattr(front, "allocate", counted)
    found = pareto_front(problem, 9, time_limit_s=10.0, gap=0.0)
    assert calls == [0.0, 1.0]
    assert found.solved == 2
    assert [point.epsilon for point in found.points] == [0.0]
    assert {entry.reason for entry in found.omitted} == {"same point"}


def test_points_that_another_beats_are_left_out(monkeypatch):
    """A solver that stops early may answer worse at a larger ε than at a smaller one."""
    problem = equal_blocks([2, 2, 2, 2], 2)
    everything = np.ones((4, 2), dtype=bool)
    lean = np.tile([[True, False], [False, True]], (2, 1))
    between = np.array([[1, 1], [1, 0], [0, 1], [1, 1]], dtype=bool)
    bad = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], dtype=bool)
    answers = {0.0: everything, 0.25: bad, 0.5: between, 0.75: between, 1.0: lean}
    real = allocate(problem, 10.0, 0.0)
    monkeypatch.setattr(
        front, "allocate", lambda changed, *_: replace(real, active=ActiveSets(answers[changed.epsilon]))
    )
    found = pareto_front(problem, 5, time_limit_s=1.0, gap=0.0)
    assert [point.epsilon for point in found.points] == [0.0, 0.5, 1.0]
    assert found.omitted == (Omitted(0.25, 0.5, "dominated"), Omitted(0.75, 0.5, "same point"))


def test_bounds_and_gap_of_a_point_come_from_its_steps():
    problem = unequal_blocks(6, 5, epsilon=0.5)
    answer = allocate(problem, 30.0, 1e-3)
    f1, f2 = proven(problem, answer)
    assert (f1.value, f2.value) == (answer.f1, answer.f2_bytes)
    steps = {step.name: step for step in answer.steps}
    assert f1.best == steps["best_convergence"].bound
    assert f2.bound == min(f2.value, steps["constrained_vram"].bound)
    for left, right in itertools.pairwise([0.0, f1.best, f1.bound, f1.value]):
        assert left <= right
    assert f2.gap == pytest.approx((f2.value - f2.bound) / (f2.value - problem.base_bytes.sum()))


@pytest.mark.parametrize("count", [1, 0, -3])
def test_fewer_than_two_points_are_refused(count):
    with pytest.raises(ConfigError, match=f"--front {count}: a front needs at least 2 points"):
        pareto_front(equal_blocks([1, 1], 2), count, 1.0, 0.0)


def test_three_objectives_and_one_outside_of_the_order():
    """Round time as the third objective is minimised; outside of the order only its value is known."""
    problem = unequal_blocks(3, 4, seed=2, block_seconds=np.full((3, 4), 0.5), epsilon=0.5)
    timed = replace(problem, order=("convergence", "vram", "time"))
    found = pareto_front(timed, 3, 30.0, 0.0)
    for point in found.points:
        f3 = point.proven[2]
        assert f3.objective == "time"
        assert f3.value == objectives.round_seconds(point.allocation.active.matrix, timed)
        assert 0 < f3.bound <= f3.value
    untimed = proven(problem, allocate(problem, 30.0, 0.0))[2]
    assert untimed.value > 0
    assert (untimed.bound, untimed.gap, untimed.best) == (-np.inf, np.inf, -np.inf)
