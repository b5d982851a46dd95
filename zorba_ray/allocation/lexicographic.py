"""The ε-constraint lexicographic algorithm of algorithm.md section 7; the steps there are the comments here.

With the default order f is "first" = convergence (f1) and "second" = vram (f2); the other order mirrors the roles.
Every step starts from the best point known and can only improve on it, and every cap is the exactly evaluated value
of a point in hand, so that point stays feasible whatever the solver's tolerances are.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.bounds import counting_bound
from zorba_ray.allocation.cap import Cap
from zorba_ray.allocation.feasibility import explain_infeasible
from zorba_ray.allocation.greedy import greedy
from zorba_ray.allocation.problem import AllocationProblem, Objective, StepResult, StepStatus
from zorba_ray.allocation.step import GAP_SLACK, StepAnswer, minimise, relative_gap
from zorba_ray.errors import AllocationInfeasible

STEPS = 5


@dataclass
class Lexicographic:
    """One run of the algorithm: the points and bounds it has collected so far."""

    problem: AllocationProblem
    gap: float
    deadline: float
    """Of time.monotonic(), for all steps together."""
    points: list[np.ndarray] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    solver_found: bool = False
    """Whether the solver produced a feasible point in any step."""
    proven: list[tuple[Objective, Cap | None, float]] = field(default_factory=list)

    def run(self) -> np.ndarray:
        """[N, L] bool: a Pareto-optimal point, up to the gaps of its steps.

        Raises AllocationInfeasible when the solver proves that there is none, or finds none in time.
        """
        problem = self.problem
        first, second = problem.order

        # Step 1: the ends. f* of each objective alone; nadir: the best first among the points with the best second
        # (taken from any other point it would be inflated by dominated ones).
        self._step(f"best_{first}", first, None)
        at_second = self._step(f"best_{second}", second, None)
        best_second = objectives.value(second, at_second, problem)
        at_nadir = self._step(f"nadir_{first}", first, Cap(second, best_second))

        # Step 2: min second subject to first <= first* + ε (nadir − first*).
        nadir = objectives.value(first, at_nadir, problem)
        best_first = min(objectives.value(first, point, problem) for point in self.points)
        allowed = best_first + problem.epsilon * (nadir - best_first)
        constrained = self._step(f"constrained_{second}", second, Cap(first, allowed))

        # Step 3: fix second there and min first again: Pareto-optimal, not just weakly so.
        return self._step(f"polished_{first}", first, Cap(second, objectives.value(second, constrained, problem)))

    def _step(self, name: str, objective: Objective, cap: Cap | None) -> np.ndarray:
        problem, began = self.problem, time.monotonic()
        start, start_is_greedy = self._start(objective, cap)
        known = self._known_bound(objective, cap)
        if start is not None and relative_gap(self._value(objective, start), known) <= self.gap + GAP_SLACK:
            # An earlier step proved this already, as at ε = 0 and ε = 1.
            answer = StepAnswer(start, known, "optimal", False)
        else:
            answer = minimise(problem, objective, cap, start, self.gap, self._step_deadline(began))
        active = answer.active
        if active is None:
            raise AllocationInfeasible(
                explain_infeasible(problem)
                if answer.status == "infeasible"
                else "allocation: neither the solver within its time limit nor the greedy heuristic found an "
                "allocation. That does not prove that there is none: raise the allocation's time limit or some budgets"
            )
        value = self._value(objective, active)
        # Tolerances can put a proven bound a hair above the exact value.
        bound = min(value, max(answer.bound, known, counting_bound(problem, objective)))
        status: StepStatus = "time_limit"
        if answer.status == "optimal":
            status = "optimal"
        elif start_is_greedy and not answer.solver_found:
            status = "greedy"
        self.steps.append(
            StepResult(
                name=name,
                objective=objective,
                constraint="none" if cap is None else cap.text(problem),
                value=value,
                bound=bound,
                gap=relative_gap(value, bound),
                seconds=time.monotonic() - began,
                status=status,
            )
        )
        self.points.append(active)
        self.proven.append((objective, cap, max(answer.bound, known)))
        self.solver_found = self.solver_found or answer.solver_found
        return active

    def _value(self, objective: Objective, active: np.ndarray) -> float:
        return objectives.value(objective, active, self.problem)

    def _step_deadline(self, now: float) -> float:
        """An equal share of what is left; all of it while there is no point at all, since nothing else helps then."""
        if not self.points:
            return self.deadline
        return now + (self.deadline - now) / (STEPS - len(self.steps))

    def _start(self, objective: Objective, cap: Cap | None) -> tuple[np.ndarray | None, bool]:
        """The best known point that keeps the cap, and whether it is the heuristic's."""
        # Latest first, and the heuristic last: among equals `min` keeps the point that the most steps have improved.
        points = [point for point in reversed(self.points) if cap is None or cap.holds(point, self.problem)]
        heuristic = greedy(self.problem, objective, cap)
        if heuristic is not None:
            points.append(heuristic)
        if not points:
            return None, False
        best = min(points, key=lambda point: self._value(objective, point))
        return best, best is heuristic or not self.solver_found

    def _known_bound(self, objective: Objective, cap: Cap | None) -> float:
        """The best bound proven earlier for this objective under no cap or a looser one."""
        known = float("-inf")
        for earlier, earlier_cap, bound in self.proven:
            looser = earlier_cap is None or (
                cap is not None and earlier_cap.objective == cap.objective and earlier_cap.limit >= cap.limit
            )
            if earlier == objective and looser:
                known = max(known, bound)
        return known
