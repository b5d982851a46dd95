"""The bounds that one step of the ε-constraint algorithm puts on the other objectives."""

from dataclasses import dataclass

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.problem import Objective

# f1 and seconds sum floats, whose last digits differ with the order of the terms; this only forgives that. Bytes are
# exact.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Cap:
    """`objective` may be at most `limit` (f1 without a unit, bytes, a share of a budget, or seconds)."""

    objective: Objective
    limit: float

    def over(self, counts: np.ndarray, problem: objectives.Rows) -> float:
        """By how much the matrix or counts are over the limit, evaluated exactly; 0 when they keep it."""
        slack = 0.0 if self.objective == "vram" else self.limit * ROUNDING
        found = objectives.value(self.objective, counts, problem)
        return 0.0 if found <= self.limit + slack else found - self.limit

    def holds(self, counts: np.ndarray, problem: objectives.Rows) -> bool:
        """Whether the cap is kept."""
        return self.over(counts, problem) == 0.0

    def text(self, problem: objectives.Rows) -> str:
        """For people: "f1 <= 1.25", "total bytes <= 12,000", "worst share <= 0.8", "seconds <= 0.4"."""
        if self.objective == "convergence":
            return f"f1 <= {self.limit:.9g}"
        if self.objective == "time":
            return f"seconds <= {self.limit:.9g}"
        if problem.vram_objective == "total_bytes":
            return f"total bytes <= {int(self.limit):,}"
        return f"worst share <= {self.limit:.9g}"

    def is_in_budgets(self, problem: objectives.Rows) -> bool:
        """Whether `within_share` writes this cap into the budgets, so that no row is needed for it."""
        return self.objective == "vram" and problem.vram_objective == "worst_share"


Caps = tuple[Cap, ...]


def within_share(problem: Merged, caps: Caps) -> Merged:
    """The problem with a cap on the worst share written into the budgets; unchanged where there is no such cap.

    Exact in bytes: the new budget is the largest B with B / V_n <= limit in the same float64 division that evaluates
    the share, so that a point whose own share is the limit stays feasible.
    """
    shares = [cap.limit for cap in caps if cap.is_in_budgets(problem)]
    if not shares:
        return problem
    limit, budgets = min(shares), []
    for budget in problem.budget_bytes.tolist():
        narrowed = min(int(limit * budget), budget)
        while narrowed < budget and (narrowed + 1) / budget <= limit:
            narrowed += 1
        while narrowed / budget > limit:
            narrowed -= 1
        budgets.append(narrowed)
    return problem.with_budgets(np.array(budgets, dtype=np.int64))
