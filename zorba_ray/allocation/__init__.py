"""Who activates which blocks: the ε-constraint lexicographic allocation, on numbers only."""

from zorba_ray.allocation.answer import Allocation, StepResult
from zorba_ray.allocation.check import check
from zorba_ray.allocation.problem import AllocationProblem
from zorba_ray.allocation.rotate import rotate
from zorba_ray.allocation.simple import allocate_simply
from zorba_ray.allocation.solve import allocate
from zorba_ray.allocation.what_if import WhatIf, smallest_budgets

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
