"""The allocation as a mixed-integer linear program in Pyomo.

Indices: r group of equal clients (one client where nothing merges), b block, k chord. Variables and constraints:

    y[r,b]            how many members of group r hold block b, 0 .. size (0/1 for a single client); fixed by its bounds
                      where they must or must not hold it
    holders[b] = N_b  count[b]:         N_b = Σ_r y[r,b]; a variable of its own keeps chord rows at two entries
    inverse[b] = U_b  chord[b,k]:       U_b ≥ N (2k + 1 − N_b) / (k (k + 1)), so U_b = N / N_b at whole N_b; U_b ≥ 1
    share             worst_share[r]:   share ≥ bytes_r / V_r − the largest base_r / V_r
                      budget[r], coverage[b], at_least[r], at_most[r], twin[r], convergence_cap, vram_cap

What counts seconds is in `pyomo_time`.
U_b = N / N_b and not 1 / N_b: at large N the latter lies below the solver's tolerances.
Source: algorithm.md section 7 (ours).
"""

import math
from typing import Any

import numpy as np
import pyomo.environ as pyo

from zorba_ray.allocation import objectives, pyomo_time
from zorba_ray.allocation.bounds import f1_terms
from zorba_ray.allocation.cap import Cap, Caps
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.problem import Objective
from zorba_ray.allocation.twins import sorted_twins, twins

# Up to this many clients every chord is a row from the start; above, rows are added where the solver needs them.
ALL_CHORDS_UP_TO = 32
# Where else they are put around a known point, in parts of N_b: the error between two such chords is 1e-4 and less.
CHORDS_AROUND = (0.7, 0.85, 0.95, 0.98, 0.99, 1.01, 1.02, 1.05, 1.2, 1.4)
# The worst share is a number in [0, 1]: stretched, so that the solver's absolute tolerances mean little.
SHARE_SCALE = 1000.0
# Whole-number rows are exact for the solver up to about this size (its integrality tolerance is 1e-6).
EXACT_UNITS = 100_000


class AllocationModel:
    """The program of one step: minimise `objective`, with caps on the other ones.

    A cap on the worst share must have been written into the budgets before (`cap.within_share`).
    """

    def __init__(self, problem: Merged, objective: Objective, caps: Caps) -> None:
        self.problem, self.objective = problem, objective
        self.caps = {cap.objective: cap for cap in caps if not cap.is_in_budgets(problem)}
        self.needs_f1 = objective == "convergence" or "convergence" in self.caps
        self.byte_unit = _byte_unit(problem.active_bytes)
        self.chords: set[tuple[int, int]] = set()
        self.twins = twins(problem)
        self.limits: dict[Objective, float] = {}
        self.second = 1.0
        self.unavoidable = objectives.unavoidable(objective, problem)
        """Not in the program's objective, whose relative gap is that of what is decided. In natural units."""
        self.pyomo = new_model("allocation")
        self._add_counts()
        self._add_client_rows()
        if self.needs_f1:
            self._add_convergence()
        if objective == "vram" and problem.vram_objective == "worst_share":
            self._add_worst_share()
        if objective == "time" or "time" in self.caps:
            self.second = pyomo_time.add_seconds(self.pyomo, problem)
        for cap in self.caps.values():
            self._add_cap(cap)
        self._add_objective()

    @property
    def is_lazy(self) -> bool:
        """Whether some chord rows are missing until they are needed."""
        return self.needs_f1 and self.problem.clients > ALL_CHORDS_UP_TO

    # --- building -----------------------------------------------------------------------------------------------

    def _add_counts(self) -> None:
        model, problem = self.pyomo, self.problem
        model.R = pyo.RangeSet(0, len(problem.size) - 1)
        model.B = pyo.RangeSet(0, problem.blocks - 1)
        low = (problem.size[:, None] * problem.required).tolist()
        high = (problem.size[:, None] * ~problem.forbidden).tolist()
        model.y = pyo.Var(model.R, model.B, domain=pyo.Integers, bounds=lambda _, r, b: (low[r][b], high[r][b]))
        model.holders = pyo.Var(model.B, domain=pyo.Reals, bounds=(0, problem.clients))
        model.count = pyo.Constraint(model.B, rule=lambda m, b: m.holders[b] == sum(m.y[r, b] for r in m.R))
        model.coverage = pyo.Constraint(model.B, rule=lambda m, b: m.holders[b] >= problem.coverage)

    def _add_client_rows(self) -> None:
        model: Any = self.pyomo
        problem = self.problem
        size, capacity, least = problem.size.tolist(), problem.capacity.tolist(), problem.least.tolist()

        def held(m: Any, r: int) -> Any:
            return sum(m.y[r, b] for b in m.B)

        def budget(m: Any, r: int) -> Any:
            if problem.equal[r]:
                # Equal blocks: the byte budget is a whole number of blocks, exactly.
                return held(m, r) <= size[r] * capacity[r]
            coefficients, room = _whole_row(problem.active_bytes[r], int(problem.room_bytes[r]))
            return sum(coefficients[b] * m.y[r, b] for b in m.B) <= room

        model.budget = pyo.Constraint(model.R, rule=budget)
        model.at_least = pyo.Constraint(model.R, rule=lambda m, r: held(m, r) >= size[r] * least[r])
        if problem.source.max_blocks is not None:
            model.at_most = pyo.Constraint(model.R, rule=lambda m, r: held(m, r) <= size[r] * capacity[r])
        # Clients that only their names tell apart: the first holds no fewer blocks than the second, and so on.
        model.T = pyo.Set(initialize=sorted(self.twins))
        model.twin = pyo.Constraint(model.T, rule=lambda m, r: held(m, self.twins[r]) >= held(m, r))
        model.cover = pyo.ConstraintList()  # exact cuts, see `forbid`

    def _add_convergence(self) -> None:
        model, problem = self.pyomo, self.problem
        clients = problem.clients
        model.inverse = pyo.Var(model.B, domain=pyo.Reals, bounds=(1, clients))
        model.chord = pyo.Constraint(pyo.Any)
        terms, slopes = f1_terms(problem)
        rare, shared = (terms / clients).tolist(), slopes.tolist()
        model.f1 = pyo.Expression(expr=sum(rare[b] * model.inverse[b] + shared[b] * model.holders[b] for b in model.B))
        if self.is_lazy:
            # A coarse grid to start from; the relaxation and the incumbent say where more are needed.
            grid = {min(2**i, clients - 1) for i in range(1 + math.ceil(math.log2(clients)))}
        else:
            grid = set(range(1, clients))
        for b in range(problem.blocks):
            for k in sorted(grid):
                self._add_chord(b, k)

    def _add_worst_share(self) -> None:
        model, problem = self.pyomo, self.problem
        model.share = pyo.Var(domain=pyo.NonNegativeReals)
        # A merged group's fullest member holds `level` blocks: with counts dealt round robin, the mean rounded up.
        model.M = pyo.Set(initialize=np.flatnonzero(problem.equal).tolist())
        model.level = pyo.Var(model.M, domain=pyo.Integers, bounds=(0, problem.blocks))
        model.fullest = pyo.Constraint(
            model.M, rule=lambda m, r: sum(m.y[r, b] for b in m.B) <= int(problem.size[r]) * m.level[r]
        )

        def worst(m: Any, r: int) -> Any:
            per_byte = SHARE_SCALE / int(problem.budget_bytes[r])
            if problem.equal[r]:
                extra = int(problem.active_bytes[r, 0]) * per_byte * m.level[r]
            else:
                extra = sum(int(problem.active_bytes[r, b]) * per_byte * m.y[r, b] for b in m.B)
            base = int(problem.base_bytes[r]) * per_byte
            return m.share >= base - SHARE_SCALE * self.unavoidable + extra

        model.worst_share = pyo.Constraint(model.R, rule=worst)

    def _total_units(self) -> Any:
        """Active bytes of all clients in units of `byte_unit`."""
        units = (self.problem.active_bytes / self.byte_unit).tolist()
        m = self.pyomo
        return sum(units[r][b] * m.y[r, b] for r in m.R for b in m.B)

    def _add_cap(self, cap: Cap) -> None:
        model, problem = self.pyomo, self.problem
        if cap.objective == "convergence":
            self.limits["convergence"] = cap.limit
            model.convergence_cap = pyo.Constraint(expr=model.f1 <= cap.limit)
        elif cap.objective == "vram":
            limit = self.limits["vram"] = (int(cap.limit) - problem.total_base) / self.byte_unit
            model.vram_cap = pyo.Constraint(expr=self._total_units() <= limit)
        else:
            self.limits["time"] = cap.limit / self.second
            model.time_cap = pyo.Constraint(pyo.Any)
            pyomo_time.set_cap(model, problem, self.limits["time"])

    def _add_objective(self) -> None:
        m, problem = self.pyomo, self.problem
        if self.objective == "convergence":
            self.unit, expression = 1.0, m.f1
        elif self.objective == "time":
            self.unit = self.second
            expression = pyomo_time.goal(m, problem)
        elif problem.vram_objective == "worst_share":
            self.unit, expression = 1.0 / SHARE_SCALE, m.share
        else:
            self.unit = self.byte_unit
            expression = self._total_units()
        m.goal = pyo.Objective(expr=expression, sense=pyo.minimize)

    def _add_chord(self, block: int, k: int) -> bool:
        """The line through 1/k and 1/(k + 1), times N. Returns whether it is new."""
        if (block, k) in self.chords or not 1 <= k <= self.problem.clients - 1:
            return False
        m, clients = self.pyomo, self.problem.clients
        self.chords.add((block, k))
        slope = clients / (k * (k + 1))
        m.chord[block, k] = m.inverse[block] + slope * m.holders[block] >= slope * (2 * k + 1)
        return True

    # --- what the solver's loop does with it ----------------------------------------------------------------------

    def add_chords_at(self, held: np.ndarray) -> None:
        """Chords around N_b = `held` [L]: exact next to it, and spread in proportion to it."""
        for block, count in enumerate(held.tolist() if self.is_lazy else []):
            near = [count + step for step in range(-2, 2)]
            for k in {*near, *(round(count * factor) for factor in CHORDS_AROUND)}:
                self._add_chord(block, k)

    def add_violated_chords(self) -> int:
        """Chords that the present values of N_b and U_b break by more than 1e-7. Returns how many are new."""
        if not self.is_lazy:
            return 0
        new, clients = 0, self.problem.clients
        for block in range(self.problem.blocks):
            held, inverse = self.pyomo.holders[block].value, self.pyomo.inverse[block].value
            k = min(max(math.floor(held), 1), clients - 1)
            if inverse < clients * (2 * k + 1 - held) / (k * (k + 1)) - 1e-7:
                # Both neighbours: at a whole N_b either line alone would let U_b fall on its other side.
                new += self._add_chord(block, k) + self._add_chord(block, k - 1)
        return new

    def forbid(self, entries: np.ndarray) -> bool:
        """A cover cut: these entries of [G, L] cannot all be 1, because their exact bytes are too many.

        Returns False, adding nothing, where an entry lies in a merged group (a count does not say whose it is).
        """
        listed = np.argwhere(entries > 0).tolist()
        if any(self.problem.size[r] > 1 for r, _ in listed):
            return False
        self.pyomo.cover.add(sum(self.pyomo.y[r, b] for r, b in listed) <= len(listed) - 1)
        return True

    def tighten(self, cap: Cap, by: float) -> None:
        """Lower a cap row's right-hand side by `by` (f1, bytes or seconds), after an answer broke it in tolerance."""
        model, unit = self.pyomo, {"convergence": 1.0, "vram": self.byte_unit, "time": self.second}
        self.limits[cap.objective] -= by / unit[cap.objective]
        limit = self.limits[cap.objective]
        if cap.objective == "convergence":
            model.convergence_cap.set_value(model.f1 <= limit)
        elif cap.objective == "vram":
            model.vram_cap.set_value(self._total_units() <= limit)
        else:
            model.time_cap.clear()
            pyomo_time.set_cap(model, self.problem, limit)

    def counts(self) -> np.ndarray:
        """[G, L] int64: the solver's counts, rounded. Not yet checked."""
        counts = np.zeros(self.problem.active_bytes.shape, dtype=np.int64)
        for (r, b), variable in self.pyomo.y.items():
            counts[r, b] = round(variable.value)
        return counts

    def suggest(self, counts: np.ndarray) -> None:
        """Write known feasible counts [G, L] into the variables, for the solver to start from."""
        m, problem = self.pyomo, self.problem
        counts = sorted_twins(counts, self.twins)
        held = counts.sum(axis=0)
        started = np.logical_or.accumulate(counts > 0, axis=1)
        for r in m.R:
            for b in m.B:
                m.y[r, b].set_value(int(counts[r, b]), skip_validation=True)
                if hasattr(m, "started"):
                    m.started[r, b].set_value(int(started[r, b]), skip_validation=True)
            if hasattr(m, "level") and r in m.level:
                level = -(-int(counts[r].sum()) // int(problem.size[r]))
                m.level[r].set_value(level, skip_validation=True)
        for b in m.B:
            m.holders[b].set_value(int(held[b]), skip_validation=True)
            if self.needs_f1:
                m.inverse[b].set_value(problem.clients / int(held[b]), skip_validation=True)
        if hasattr(m, "share"):
            above = objectives.worst_share(counts, problem) - self.unavoidable
            m.share.set_value(SHARE_SCALE * above, skip_validation=True)
        if hasattr(m, "slowest"):
            slowest = float(objectives.client_seconds(counts, problem).max())
            m.slowest.set_value(slowest / self.second, skip_validation=True)


def new_model(name: str) -> Any:
    """An empty Pyomo model. Typed Any: its components are attributes that no type checker can know."""
    return pyo.ConcreteModel(name=name)


def _byte_unit(active_bytes: np.ndarray) -> int:
    """The unit of the total-bytes row: the common divisor where it leaves small whole numbers, else the mean."""
    largest = int(active_bytes.max())
    divisor = int(np.gcd.reduce(active_bytes, axis=None))
    return divisor if largest // divisor <= EXACT_UNITS else round(float(active_bytes.mean()))


def _whole_row(coefficients: np.ndarray, room: int) -> tuple[list[float], float]:
    """One client's budget row divided by the common divisor of its bytes, or by the largest where that is too big."""
    divisor = int(np.gcd.reduce(coefficients))
    if room // divisor <= EXACT_UNITS:
        return [float(int(entry) // divisor) for entry in coefficients], float(room // divisor)
    largest = int(coefficients.max())
    return [int(entry) / largest for entry in coefficients], room / largest
