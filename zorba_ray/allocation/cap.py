"""The bound that one step of the ε-constraint algorithm puts on the other objective."""

from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.problem import AllocationProblem, Objective

# f1 sums floats, whose last digits differ with the order of the terms; this only forgives that. Bytes are exact.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Cap:
    """`objective` may be at most `limit` (f1 without a unit, bytes, or a share of a budget)."""

    objective: Objective
    limit: float

    def holds(self, active: np.ndarray, problem: AllocationProblem) -> bool:
        """Whether the matrix keeps the cap, evaluated exactly."""
        slack = self.limit * ROUNDING if self.objective == "convergence" else 0.0
        return objectives.value(self.objective, active, problem) <= self.limit + slack

    def text(self, problem: AllocationProblem) -> str:
        """For people: "f1 <= 1.25", "total bytes <= 12,000", "worst share <= 0.8"."""
        if self.objective == "convergence":
            return f"f1 <= {self.limit:.9g}"
        if problem.vram_objective == "total_bytes":
            return f"total bytes <= {int(self.limit):,}"
        return f"worst share <= {self.limit:.9g}"


def within_share(problem: AllocationProblem, cap: Cap | None) -> AllocationProblem:
    """The problem with a cap on the worst share written into the budgets; unchanged for any other cap.

    Exact in bytes: the new budget is the largest B with B / V_n <= limit in the same float64 division that evaluates
    the share, so that a point whose own share is the limit stays feasible.
    """
    if cap is None or cap.objective != "vram" or problem.vram_objective != "worst_share":
        return problem
    budgets = []
    for budget in problem.budget_bytes.tolist():
        narrowed = min(int(cap.limit * budget), budget)
        while narrowed < budget and (narrowed + 1) / budget <= cap.limit:
            narrowed += 1
        while narrowed / budget > cap.limit:
            narrowed -= 1
        budgets.append(narrowed)
    return replace(problem, budget_bytes=np.array(budgets, dtype=np.int64))
