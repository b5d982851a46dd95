"""Who activates which blocks: the ε-constraint lexicographic allocation, on numbers only."""

from zorba_ray.allocation.check import check
from zorba_ray.allocation.problem import Allocation, AllocationProblem, StepResult
from zorba_ray.allocation.rotate import rotate
from zorba_ray.allocation.simple import allocate_simply
from zorba_ray.allocation.solve import allocate

__all__ = ["Allocation", "AllocationProblem", "StepResult", "allocate", "allocate_simply", "check", "rotate"]
