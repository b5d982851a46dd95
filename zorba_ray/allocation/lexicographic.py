"""The ε-constraint lexicographic algorithm of algorithm.md section 7; the steps there are the comments here.

With the default order f is "first" = convergence (f1) and "second" = vram (f2); other orders permute the roles, and a
third objective goes through the same steps once more, under the caps that the first two left. Every step starts from
the best point known and can only improve on it, and every cap is the exactly evaluated value of a point in hand, so
that point stays feasible whatever the solver's tolerances are.
"""

import itertools
import time
from dataclasses import dataclass, field

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.answer import StepResult, StepStatus
from zorba_ray.allocation.bounds import counting_bound
from zorba_ray.allocation.cap import Cap, Caps
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.feasibility import explain_infeasible
from zorba_ray.allocation.greedy import greedy
from zorba_ray.allocation.problem import Objective
from zorba_ray.allocation.step import GAP_SLACK, StepAnswer, minimise
from zorba_ray.errors import AllocationInfeasible

# Minimisations for two and for three objectives.
STEPS = {2: 5, 3: 9}


@dataclass
class Lexicographic:
    """One run of the algorithm: the points and bounds it has collected so far."""

    problem: Merged
    gap: float
    deadline: float
    """Of time.monotonic(), for all steps together."""
    points: list[np.ndarray] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    solver_found: bool = False
    """Whether the solver produced a feasible point in any step."""
    proven: list[tuple[Objective, Caps, float]] = field(default_factory=list)

    def run(self) -> np.ndarray:
        """[G, L] int64: the counts of a Pareto-optimal point, up to the gaps of its steps.

        Raises AllocationInfeasible when the solver proves that there is none, or finds none in time.
        """
        problem, order = self.problem, self.problem.order
        caps: Caps = ()
        point = self._step(f"best_{order[0]}", order[0], caps)
        for first, second in itertools.pairwise(order):
            # Step 1: the ends. f* of each objective; nadir: the best first among the points with the best second
            # (taken from any other point it would be inflated by dominated ones).
            at_second = self._step(f"best_{second}", second, caps)
            at_nadir = self._step(f"nadir_{first}", first, (*caps, Cap(second, self._value(second, at_second))))

            # Step 2: min second subject to first <= first* + ε (nadir − first*).
            nadir = self._value(first, at_nadir)
            kept = [each for each in (point, *self.points) if all(cap.holds(each, problem) for cap in caps)]
            best_first = min(self._value(first, each) for each in kept)
            caps = (*caps, Cap(first, best_first + problem.epsilon * (nadir - best_first)))
            point = self._step(f"constrained_{second}", second, caps)
        # Step 3: fix the last there and min the others again, the last but one first: Pareto-optimal, not just weakly.
        fixed: Caps = (Cap(order[-1], self._value(order[-1], point)),)
        for place in range(len(order) - 2, -1, -1):
            objective = order[place]
            # Its own cap is kept by any point that is no worse than the one in hand.
            point = self._step(f"polished_{objective}", objective, (*caps[:place], *fixed))
            fixed = (*fixed, Cap(objective, self._value(objective, point)))
        return point

    def _step(self, name: str, objective: Objective, caps: Caps) -> np.ndarray:
        problem, began = self.problem, time.monotonic()
        start, start_is_greedy = self._start(objective, caps)
        known = self._known_bound(objective, caps)
        if start is not None and self._is_proven(objective, start, known):
            # As at ε = 0 and ε = 1.
            answer = StepAnswer(start, known, "optimal", False)
        else:
            answer = minimise(problem, objective, caps, start, self.gap, self._step_deadline(began))
        counts = answer.counts
        if counts is None:
            raise AllocationInfeasible(
                explain_infeasible(problem.source)
                if answer.status == "infeasible"
                else f"allocation: in {time.monotonic() - began:.3g} s neither the solver nor the greedy heuristic "
                f"found an allocation of {problem.blocks} blocks to {problem.clients} clients. That does not prove "
                "that there is none: raise allocation.time_limit_s or some budgets"
            )
        value = self._value(objective, counts)
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
                constraint=" and ".join(cap.text(problem) for cap in caps) or "none",
                value=value,
                bound=bound,
                gap=objectives.relative_gap(objective, value, bound, problem),
                seconds=time.monotonic() - began,
                status=status,
            )
        )
        self.points.append(counts)
        self.proven.append((objective, caps, max(answer.bound, known)))
        self.solver_found = self.solver_found or answer.solver_found
        return counts

    def _is_proven(self, objective: Objective, start: np.ndarray, known: float) -> bool:
        """Whether no solver is needed: earlier steps proved the start within the gap, or counting proves it exactly.

        Counting within the gap is not enough: the start may be the heuristic's, the nadir is taken from it, and a
        solver mostly ends at the optimum where it may stop earlier.
        """
        value, problem = self._value(objective, start), self.problem
        by_counting = objectives.relative_gap(objective, value, counting_bound(problem, objective), problem)
        by_steps = objectives.relative_gap(objective, value, known, problem)
        return by_steps <= self.gap + GAP_SLACK or by_counting <= 1e-9

    def _value(self, objective: Objective, counts: np.ndarray) -> float:
        return objectives.value(objective, counts, self.problem)

    def _step_deadline(self, now: float) -> float:
        """An equal share of what is left; all of it while there is no point at all, since nothing else helps then."""
        if not self.points:
            return self.deadline
        return now + (self.deadline - now) / (STEPS[len(self.problem.order)] - len(self.steps))

    def _start(self, objective: Objective, caps: Caps) -> tuple[np.ndarray | None, bool]:
        """The best known point that keeps the caps, and whether it is the heuristic's."""
        # Latest first, and the heuristic last: among equals `min` keeps the point that the most steps have improved.
        points = [point for point in reversed(self.points) if all(cap.holds(point, self.problem) for cap in caps)]
        heuristic = greedy(self.problem, objective, caps)
        if heuristic is not None:
            points.append(heuristic)
        if not points:
            return None, False
        best = min(points, key=lambda point: self._value(objective, point))
        return best, best is heuristic or not self.solver_found

    def _known_bound(self, objective: Objective, caps: Caps) -> float:
        """The best bound proven earlier for this objective under no caps or looser ones."""

        def is_implied(earlier: Cap) -> bool:
            return any(cap.objective == earlier.objective and cap.limit <= earlier.limit for cap in caps)

        bounds = [
            bound
            for each, earlier, bound in self.proven
            if each == objective and all(is_implied(cap) for cap in earlier)
        ]
        return max(bounds, default=float("-inf"))
