"""The allocation: it decides which client activates which blocks. It works on numbers only. See docs/allocation.md."""

from zorba_ray.allocation.answer import Allocation
from zorba_ray.allocation.check import check
from zorba_ray.allocation.comparators import allocate_simply
from zorba_ray.allocation.feasibility import smallest_budgets
from zorba_ray.allocation.lexicographic import allocate
from zorba_ray.allocation.problem import AllocationProblem

__all__ = [
    "Allocation",
    "AllocationProblem",
    "allocate",
    "allocate_simply",
    "check",
    "smallest_budgets",
]
