"""The solver (merged fleets of any size, unequal blocks against the clock), and what its answers do to learning.

That it agrees with the enumeration of all matrices is a test: tests/property/test_allocation_brute.py.
"""

from benchmarks.allocation import learning, solver
from benchmarks.rows import Row


def rows(quick: bool) -> list[Row]:
    """All rows; quick has none of learning, which takes minutes to say anything."""
    solved = [*solver.equal(quick), *solver.unequal(quick)]
    return solved if quick else [*solved, *learning.rows()]
