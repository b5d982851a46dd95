"""The ε-constraint lexicographic algorithm of docs/algorithm.md section 7. Comments name the steps as they are there.

With the default order, "first" is convergence (f1) and "second" is vram (f2). Other orders exchange the roles. A third
objective goes through the same steps again, under the caps (upper limits) from the first two.

Every step starts from the best known point and can only improve it. Every cap is the exact value of a known point, so
this point stays feasible for any tolerance of the solver.
"""

import itertools
import time
from dataclasses import dataclass, field

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.answer import Allocation, StepResult, StepStatus
from zorba_ray.allocation.check import check
from zorba_ray.allocation.classes import Groups, deal, merge
from zorba_ray.allocation.feasibility import explain_infeasible, require_feasible
from zorba_ray.allocation.objectives import Cap, Caps, counting_bound
from zorba_ray.allocation.problem import AllocationProblem, Objective
from zorba_ray.allocation.solve import StepAnswer, is_closed, minimise
from zorba_ray.allocation.start import greedy
from zorba_ray.errors import AllocationInfeasible, ConfigError

# Minimisations for two and for three objectives.
STEPS = {2: 5, 3: 9}


def allocate(problem: AllocationProblem, time_limit_s: float, gap: float) -> Allocation:
    """Decides which client activates which blocks, by the ε-constraint lexicographic algorithm on HiGHS.

    The same problem gives the same answer every time, if no step comes near its share of the time limit.
    Source: docs/algorithm.md sections 5 to 7 (ours).

    Args:
        time_limit_s: seconds >= 0, shared by the minimisations (five, or nine with three objectives). Building the
            programs and explaining an infeasible problem take extra time.
        gap: relative distance from the proven optimum at which a minimisation may stop, in [0, 1), as in
            `objectives.relative_gap`. 0 means within the solver's tolerances (1e-6).

    Raises:
        ConfigError: an argument out of range, or a problem in which active blocks cost no memory.
        AllocationInfeasible: there is no allocation; names client, constraint and missing bytes.
    """
    if not 0 <= time_limit_s < float("inf"):
        raise ConfigError(f"allocation: time_limit_s = {time_limit_s!r} must be a finite number of seconds >= 0")
    if not 0 <= gap < 1:
        raise ConfigError(f"allocation: gap = {gap!r} must be in [0, 1)")
    if not problem.active_bytes.any():
        raise ConfigError(
            "allocation: active_bytes is 0 for every client and block: a frozen block costs as much memory as an "
            "active one, so budgets cannot decide which blocks are active. Set memory.master and memory.frozen to "
            "different values, or drop federation.fleet, so that every client activates all blocks"
        )
    require_feasible(problem)
    algorithm = Lexicographic(merge(problem), gap, deadline=time.monotonic() + time_limit_s)
    active = deal(algorithm.run(), algorithm.groups)
    # A defect of this package, never the user's fault: a wrong allocation must not be returned.
    if violations := check(problem, active):
        raise AssertionError(f"the allocation breaks its constraints: {'; '.join(violations[:20])}")
    is_proven = all(step.status == "optimal" for step in algorithm.steps)
    unsolved = "greedy, proven by counting" if is_proven else "greedy"
    return Allocation(
        active=active,
        steps=tuple(algorithm.steps),
        f1=objectives.f1(active.matrix, problem),
        f2_bytes=objectives.f2_bytes(active.matrix, problem),
        worst_share=objectives.worst_share(active.matrix, problem),
        gap=max(step.gap for step in algorithm.steps),
        solver=_solver_version() if algorithm.solver_found else unsolved,
    )


def _solver_version() -> str:
    from zorba_ray.allocation.highs import solver_version

    return solver_version()


@dataclass
class Lexicographic:
    """One run of the algorithm, with the points and bounds found so far."""

    groups: Groups
    gap: float
    deadline: float
    """Of time.monotonic(), for all steps together."""
    points: list[np.ndarray] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    solver_found: bool = False
    """Whether the solver produced a feasible point in any step."""
    proven: list[tuple[Objective, Caps, float]] = field(default_factory=list)
    """Objective, caps and bound of every step."""

    def run(self) -> np.ndarray:
        """[G, L] int64: the counts of a Pareto-optimal point, up to the gaps of its steps.

        Raises:
            AllocationInfeasible: the solver proves that there is no allocation, or finds none in time.
        """
        groups, order = self.groups, self.groups.source.order
        caps: Caps = ()
        point = self._step(f"best_{order[0]}", order[0], caps)
        for first, second in itertools.pairwise(order):
            # Step 1: the ends. f* of each objective. The nadir is the best first objective among the points with the
            # best second one; a point that is dominated would make it too large.
            at_second = self._step(f"best_{second}", second, caps)
            at_nadir = self._step(f"nadir_{first}", first, (*caps, Cap(second, self._value(second, at_second))))

            # Step 2: min second subject to first <= first* + ε (nadir − first*).
            nadir = self._value(first, at_nadir)
            allowed = [known for known in (point, *self.points) if objectives.are_kept(caps, known, groups)]
            best_first = min(self._value(first, known) for known in allowed)
            caps = (*caps, Cap(first, best_first + groups.source.epsilon * (nadir - best_first)))
            point = self._step(f"constrained_{second}", second, caps)
        # Step 3: fix the last objective at its value and minimise the others again, from the last but one to the first.
        # Without this step the point would only be weakly Pareto-optimal.
        fixed: Caps = (Cap(order[-1], self._value(order[-1], point)),)
        for number in range(len(order) - 2, -1, -1):
            # The objective's own cap is not needed: the step cannot give a worse point than the current one.
            point = self._step(f"polished_{order[number]}", order[number], (*caps[:number], *fixed))
            fixed = (*fixed, Cap(order[number], self._value(order[number], point)))
        return point

    def _step(self, name: str, objective: Objective, caps: Caps) -> np.ndarray:
        groups, began = self.groups, time.monotonic()
        start = self._start(objective, caps)
        known = self._known_bound(objective, caps)
        if start is not None and self._is_proven(objective, start, known):
            # No solver is needed, as at ε = 0 and ε = 1.
            answer = StepAnswer(start, known, "optimal", False)
        else:
            answer = minimise(groups, objective, caps, start, self.gap, self._step_deadline(began))
        counts, problem = answer.counts, groups.source
        if counts is None:
            raise AllocationInfeasible(
                explain_infeasible(problem)
                if answer.status == "infeasible"
                else f"allocation: in {time.monotonic() - began:.3g} s neither the solver nor the greedy heuristic "
                f"found an allocation of {problem.blocks} blocks to {problem.clients} clients. That does not prove "
                "that there is none: raise allocation.time_limit_s or some budgets"
            )
        value = self._value(objective, counts)
        # Because of tolerances, a proven bound can be slightly above the exact value.
        bound = min(value, max(answer.bound, known, counting_bound(groups, objective)))
        self.solver_found = self.solver_found or answer.solver_found
        stopped: StepStatus = "time_limit" if self.solver_found else "greedy"
        self.steps.append(
            StepResult(
                name=name,
                objective=objective,
                constraint=" and ".join(cap.text(groups) for cap in caps) or "none",
                value=value,
                bound=bound,
                gap=objectives.relative_gap(objective, value, bound, groups),
                seconds=time.monotonic() - began,
                status="optimal" if answer.status == "optimal" else stopped,
            )
        )
        self.points.append(counts)
        self.proven.append((objective, caps, max(answer.bound, known)))
        return counts

    def _is_proven(self, objective: Objective, start: np.ndarray, known: float) -> bool:
        """Whether no solver is needed: earlier steps proved the start within the gap, or counting proves it optimal.

        A bound by counting within the gap is not enough. The start may be from the heuristic, and the nadir is computed
        from it; a solver would mostly reach the optimum.
        """
        by_counting = counting_bound(self.groups, objective)
        gap = objectives.relative_gap(objective, self._value(objective, start), by_counting, self.groups)
        return gap <= 1e-9 or is_closed(objective, self.groups, start, known, self.gap)

    def _value(self, objective: Objective, counts: np.ndarray) -> float:
        return objectives.value(objective, counts, self.groups)

    def _step_deadline(self, now: float) -> float:
        """Each remaining step gets an equal share of the remaining time. While no point is known, a step gets all."""
        if not self.points:
            return self.deadline
        return now + (self.deadline - now) / (STEPS[len(self.groups.source.order)] - len(self.steps))

    def _start(self, objective: Objective, caps: Caps) -> np.ndarray | None:
        """The best known point that keeps the caps."""
        # The latest point comes first, the heuristic's last: of equal points `min` takes the most improved one.
        points = [point for point in reversed(self.points) if objectives.are_kept(caps, point, self.groups)]
        heuristic = greedy(self.groups, objective, caps)
        if heuristic is not None:
            points.append(heuristic)
        return min(points, key=lambda point: self._value(objective, point), default=None)

    def _known_bound(self, objective: Objective, caps: Caps) -> float:
        """The best bound that an earlier step proved for this objective, with no caps or looser ones."""

        def is_implied(earlier: Cap) -> bool:
            return any(cap.objective == earlier.objective and cap.limit <= earlier.limit for cap in caps)

        bounds = [
            bound
            for proven_objective, earlier, bound in self.proven
            if proven_objective == objective and all(is_implied(cap) for cap in earlier)
        ]
        return max(bounds, default=float("-inf"))
