"""What stands beside an allocation: the heuristic's answer under the same constraint (algorithm.md section 7)."""

import numpy as np

from zorba_ray.allocation import Allocation, AllocationProblem
from zorba_ray.allocation.cap import Cap
from zorba_ray.allocation.classes import deal, merge
from zorba_ray.allocation.greedy import greedy


def greedy_beside(problem: AllocationProblem, allocation: Allocation) -> np.ndarray | None:
    """[N, L] bool: greedy's answer to the question that `allocation` answers; None where it finds none.

    It minimises the second objective of `order` under the same ε-constraint on the first (whose ends it is told), so
    that the two differ in the method only. At ε = 0 it may fail where the first objective's optimum is out of its
    reach; it then answers with its best of the first objective.
    """
    first, second = problem.order[:2]
    ends = [step.value for step in allocation.steps if step.name in (f"best_{first}", f"nadir_{first}")]
    if len(ends) < 2:
        return None
    best, nadir = min(ends), ends[-1]
    merged = merge(problem)
    counts = greedy(merged, second, (Cap(first, best + problem.epsilon * (nadir - best)),))
    counts = greedy(merged, first) if counts is None else counts
    return None if counts is None else deal(counts, merged)
