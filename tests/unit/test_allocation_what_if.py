"""The smallest budgets: enough, and a byte less is not, against the enumeration of all matrices."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.enumerated import every_allocation, random_problem
from zorba_ray.allocation import smallest_budgets
from zorba_ray.errors import AllocationInfeasible


def enumerated(problem) -> tuple[int, float]:
    """(least raise in bytes summed over clients, least factor), over all matrices that keep all but the budgets."""
    roomy = problem.base_bytes + problem.active_bytes.sum(axis=1)
    free = replace(problem, budget_bytes=np.maximum(roomy, problem.budget_bytes))
    used = problem.base_bytes + (every_allocation(free) * problem.active_bytes).sum(axis=2)  # [M, N]
    raised = np.maximum(used - problem.budget_bytes, 0).sum(axis=1)
    return int(raised.min()), float((used / problem.budget_bytes).max(axis=1).min())


def test_smallest_budgets_equal_the_enumeration():
    feasible = 0
    for seed in range(40):
        problem = random_problem(seed)
        if problem.clients * min(problem.max_blocks or 4, problem.blocks) < problem.blocks * problem.coverage:
            with pytest.raises(AllocationInfeasible, match="whatever the budgets"):
                smallest_budgets(problem)
            continue
        answer = smallest_budgets(problem)
        missing, factor = enumerated(problem)
        assert answer.proven
        assert answer.factor == pytest.approx(factor, rel=1e-9), f"seed {seed}"
        assert answer.feasible == (len(every_allocation(problem)) > 0), f"seed {seed}"
        assert answer.missing_bytes == missing, f"seed {seed}"
        assert (answer.budget_bytes - problem.budget_bytes).sum() == missing
        assert len(every_allocation(replace(problem, budget_bytes=answer.budget_bytes))) > 0, f"seed {seed}"
        feasible += answer.feasible
    assert 10 <= feasible <= 35  # both kinds were seen
