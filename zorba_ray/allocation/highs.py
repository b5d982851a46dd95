"""One run of HiGHS on a Pyomo model: options, starting point, and one kind of answer however the run ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import highspy
import pyomo.version
from pyomo.common.errors import PyomoException
from pyomo.contrib.solver.common.results import Results, SolutionStatus, TerminationCondition
from pyomo.contrib.solver.solvers.highs import Highs

# HiGHS's own default is 1e-6; answers are re-evaluated exactly, so a finer one saves repairs.
FEASIBILITY_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Run:
    """What a run gave. `found` says whether the model's variables now hold a feasible point."""

    status: Literal["optimal", "limit", "infeasible"]
    found: bool
    bound: float
    """Proven lower bound of the model's objective; −inf when there is none."""


class _StartingHighs(Highs):
    """Pyomo's HiGHS interface plus a starting point, which Pyomo 6.10 has no option for."""

    def start_from(self, model: Any) -> None:
        """Build the solver's model and hand it the values that the Pyomo variables hold now."""
        self.set_instance(model)
        start = highspy.HighsSolution()
        columns: Mapping[int, int] = self._pyomo_var_to_solver_var_map
        values = [0.0] * len(columns)
        for variable_id, column in columns.items():
            values[column] = float(self._vars[variable_id][0].value)
        start.col_value = values
        core: Any = self._solver_model
        core.setSolution(start)


def run(
    model: Any, time_limit_s: float, gap: float, start: bool = False, relax: bool = False, target: float | None = None
) -> Run:
    """Minimise the model's objective with one thread and a fixed seed.

    `gap` is relative to the model's objective. `start`: the variables hold a feasible point to begin with. `relax`:
    drop integrality. `target`: a point at least as good as this is good enough to stop.
    Found values are loaded into the model's variables. Pyomo may raise where another version returns a status
    (infeasible models, limits without a point): both are turned into the same Run.
    """
    solver = _StartingHighs()
    options = {
        "random_seed": 0,
        "mip_feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "primal_feasibility_tolerance": FEASIBILITY_TOLERANCE,
        "solve_relaxation": relax,
    }
    if target is not None:
        options["objective_target"] = target
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
        return _read(results)
    except PyomoException:
        # The exception says less than the solver does: ask HiGHS itself whether it proved infeasibility.
        return _read_exception(solver)


def _read(results: Results) -> Run:
    ended = results.termination_condition
    bound = float("-inf") if results.objective_bound is None else float(results.objective_bound)
    if ended in (TerminationCondition.provenInfeasible, TerminationCondition.infeasibleOrUnbounded):
        # Every objective here is bounded below, so "infeasible or unbounded" can only be infeasible.
        return Run("infeasible", False, bound)
    found = results.solution_status in (SolutionStatus.optimal, SolutionStatus.feasible)
    if found:
        loader: Any = results.solution_loader
        loader.load_vars()
    optimal = found and ended == TerminationCondition.convergenceCriteriaSatisfied
    return Run("optimal" if optimal else "limit", found, bound)


def _read_exception(solver: Any) -> Run:
    infeasible = (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible)
    core = solver._solver_model
    status = "infeasible" if core is not None and core.getModelStatus() in infeasible else "limit"
    return Run(status, False, float("-inf"))


@cache
def version() -> str:
    """Such as "highs 1.15.1 via pyomo 6.10.1"."""
    number = ".".join(str(part) for part in Highs().version())
    return f"highs {number} via pyomo {pyomo.version.version}"
