"""The smallest budgets: enough, and a byte less is not, against the enumeration of all matrices."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.enumerated import every_allocation, random_full_problem, random_problem
from zorba_ray.allocation import AllocationProblem, smallest_budgets
from zorba_ray.errors import AllocationInfeasible


def enumerated(problem: AllocationProblem, free: np.ndarray) -> tuple[int, float]:
    """(least raise in bytes summed over clients, least factor), over `free`: all matrices that keep all but budgets."""
    used = problem.base_bytes + (free * problem.active_bytes).sum(axis=2)  # [M, N]
    raised = np.maximum(used - problem.budget_bytes, 0).sum(axis=1)
    return int(raised.min()), float((used / problem.budget_bytes).max(axis=1).min())


@pytest.mark.parametrize("family", [random_problem, random_full_problem])
def test_smallest_budgets_equal_the_enumeration(family):
    feasible = infeasible = hopeless = 0
    for seed in range(40):
        problem = family(seed)
        roomy = problem.base_bytes + problem.active_bytes.sum(axis=1)
        free = replace(problem, budget_bytes=np.maximum(roomy, problem.budget_bytes))
        if len(every_allocation(free)) == 0:
            hopeless += 1
            with pytest.raises(AllocationInfeasible, match="whatever the budgets"):
                smallest_budgets(problem)
            continue
        answer = smallest_budgets(problem)
        missing, factor = enumerated(problem, every_allocation(free))
        assert answer.proven
        assert answer.factor == pytest.approx(factor, rel=1e-9), f"seed {seed}"
        assert answer.feasible == (len(every_allocation(problem)) > 0), f"seed {seed}"
        assert answer.missing_bytes == missing, f"seed {seed}"
        assert (answer.budget_bytes - problem.budget_bytes).sum() == missing
        assert len(every_allocation(replace(problem, budget_bytes=answer.budget_bytes))) > 0, f"seed {seed}"
        feasible, infeasible = feasible + answer.feasible, infeasible + (not answer.feasible)
    assert min(feasible, infeasible) >= 4
    assert hopeless >= 1


def test_a_large_fleet_is_counted_and_not_packed():
    """10,000 clients, each 5 bytes short of a place, one block too many for the places that there are."""
    clients = 10_000
    active = np.broadcast_to(np.int64(10), (clients, 4))
    problem = AllocationProblem(np.full(clients, 100), active, np.full(clients, 125), coverage=5_001)
    # 4 × 5,001 places are needed, 2 × 10,000 are there: four clients get five bytes more, or everybody 130 of 125.
    answer = smallest_budgets(problem)
    assert not answer.feasible
    assert (answer.missing_bytes, answer.budget_bytes.max()) == (20, 130)
    assert answer.factor == pytest.approx(130 / 125)
    assert answer.proven
