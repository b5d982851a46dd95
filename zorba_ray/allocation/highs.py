"""One run of HiGHS on a Pyomo model.

This file and `program` import Pyomo, which takes most of a second and makes a later import of numba load scipy.stats as
well. So both are imported where a program is solved: a client actor, a replay or a resume solves none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import highspy
import pyomo.version
from pyomo.common.errors import PyomoException
from pyomo.contrib.solver.common.results import SolutionStatus, TerminationCondition
from pyomo.contrib.solver.solvers.highs import Highs

# HiGHS's default is 1e-6. A smaller tolerance saves repairs.
FEASIBILITY_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Minimisation:
    """The result of a run of HiGHS. `found`: whether the model's variables now have a feasible point."""

    status: Literal["optimal", "limit", "infeasible"]
    found: bool
    bound: float
    """Proven lower bound of the model's objective; −inf when there is none."""


class _StartingHighs(Highs):
    """Pyomo's HiGHS interface with a starting point, for which Pyomo 6.10 has no option."""

    def start_from(self, model: Any) -> None:
        """Builds the solver's model, with the present values of the Pyomo variables as the starting point."""
        self.set_instance(model)
        start = highspy.HighsSolution()
        columns: Mapping[int, int] = self._pyomo_var_to_solver_var_map
        values = [0.0] * len(columns)
        for variable_id, column in columns.items():
            values[column] = float(self._vars[variable_id][0].value)
        start.col_value = values
        core: Any = self._solver_model
        core.setSolution(start)


def run_highs(model: Any, time_limit_s: float, gap: float, start: bool = False, relax: bool = False) -> Minimisation:
    """Minimises the model's objective with one thread and a fixed seed. A solution is loaded into the model's
    variables.

    For an infeasible model, or a limit without a point, some versions of Pyomo raise and others return a status. Both
    give the same result here.

    Args:
        gap: relative to the model's objective.
        start: the variables have a feasible point to start from.
        relax: drop integrality.
    """
    solver = _StartingHighs()
    options = {
        "random_seed": 0,
        "mip_feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "primal_feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "solve_relaxation": relax,
    }
    try:
        if start:
            solver.start_from(model)
        results = solver.solve(
            model,
            threads=1,
            time_limit=max(time_limit_s, 0.0),
            rel_gap=gap,
            abs_gap=1e-9,
            load_solutions=False,
            raise_exception_on_nonoptimal_result=False,
            solver_options=options,
        )
    except PyomoException:
        # HiGHS itself knows whether it proved infeasibility; the exception does not say it.
        core: Any = solver._solver_model
        proofs = (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible)
        is_proven = core is not None and core.getModelStatus() in proofs
        return Minimisation("infeasible" if is_proven else "limit", False, float("-inf"))
    ended = results.termination_condition
    bound = float("-inf") if results.objective_bound is None else float(results.objective_bound)
    if ended in (TerminationCondition.provenInfeasible, TerminationCondition.infeasibleOrUnbounded):
        # Every objective here is bounded below, so "infeasible or unbounded" can only be infeasible.
        return Minimisation("infeasible", False, bound)
    found = results.solution_status in (SolutionStatus.optimal, SolutionStatus.feasible)
    if found:
        loader: Any = results.solution_loader
        loader.load_vars()
    is_optimal = found and ended == TerminationCondition.convergenceCriteriaSatisfied
    return Minimisation("optimal" if is_optimal else "limit", found, bound)


@cache
def solver_version() -> str:
    """As "highs 1.15.1 via pyomo 6.10.1"."""
    number = ".".join(str(part) for part in Highs().version())
    return f"highs {number} via pyomo {pyomo.version.version}"
