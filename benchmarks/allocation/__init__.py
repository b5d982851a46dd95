"""The solver (merged fleets of any size, unequal blocks against the clock, both judged by enumeration), and what its
answers do to learning."""

from benchmarks.allocation import judged, learning, solver
from benchmarks.rows import Row


def rows(quick: bool) -> list[Row]:
    """All rows; quick has none of learning, which takes minutes to say anything."""
    solved = [*solver.equal(quick), *solver.unequal(quick), *judged.enumeration(quick), *judged.checker(quick)]
    return solved if quick else [*solved, *learning.rows()]
