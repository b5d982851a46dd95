"""Who activates which blocks: the ε-constraint lexicographic allocation, on numbers only. See docs/allocation.md."""

from zorba_ray.allocation.answer import Allocation, StepResult
from zorba_ray.allocation.check import check
from zorba_ray.allocation.comparators import allocate_simply
from zorba_ray.allocation.feasibility import WhatIf, smallest_budgets
from zorba_ray.allocation.lexicographic import allocate
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.allocation.rotate import rotate

__all__ = [
    "Allocation",
    "AllocationProblem",
    "StepResult",
    "WhatIf",
    "allocate",
    "allocate_simply",
    "check",
    "rotate",
    "smallest_budgets",
]
