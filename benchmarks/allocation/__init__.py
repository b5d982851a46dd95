"""The solver: merged fleets of any size, unequal blocks against the clock, and both judged by enumeration."""

from benchmarks.allocation import judged, solver
from benchmarks.rows import Row


def rows(quick: bool) -> list[Row]:
    """All rows."""
    return [*solver.equal(quick), *solver.unequal(quick), *judged.enumeration(quick), *judged.checker(quick)]
