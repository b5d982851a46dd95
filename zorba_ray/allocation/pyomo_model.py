"""The allocation as a mixed-integer linear program in Pyomo.

Indices: r group of equal clients (one client where nothing merges), b block, k chord. Variables and constraints:

    y[r,b]            how many members of group r hold block b, 0 .. size (0/1 for a single client)
    holders[b] = N_b  count[b]:         N_b = Σ_r y[r,b]; a variable of its own keeps chord rows at two entries
    inverse[b] = U_b  chord[b,k]:       U_b ≥ N (2k + 1 − N_b) / (k (k + 1)), so U_b = N / N_b at whole N_b; U_b ≥ 1
    share             worst_share[r]:   share ≥ bytes_r / V_r
                      budget[r], coverage[b], at_least_one[r], at_most[r], convergence_cap, vram_cap

U_b = N / N_b and not 1 / N_b: at large N the latter lies below the solver's tolerances.
Source: algorithm.md section 7 (ours).
"""

import math
from typing import Any

import numpy as np
import pyomo.environ as pyo

from zorba_ray.allocation import objectives
from zorba_ray.allocation.cap import Cap
from zorba_ray.allocation.classes import Group, counts_of, deal
from zorba_ray.allocation.problem import AllocationProblem, Objective

# Up to this many clients every chord is a row from the start; above, rows are added where the solver needs them.
ALL_CHORDS_UP_TO = 32
# The worst share is a number in [0, 1]: stretched, so that the solver's absolute tolerances mean little.
SHARE_SCALE = 1000.0
# Whole-number rows are exact for the solver up to about this size (its integrality tolerance is 1e-6).
EXACT_UNITS = 100_000


class AllocationModel:
    """The program of one step: minimise `objective`, with `cap` on the other one.

    A cap on the worst share must have been written into the budgets before (`cap.within_share`).
    """

    def __init__(
        self, problem: AllocationProblem, groups: tuple[Group, ...], objective: Objective, cap: Cap | None
    ) -> None:
        self.problem, self.groups, self.objective = problem, groups, objective
        self.cap = None if cap is not None and self._cap_is_in_budgets(cap) else cap
        self.needs_f1 = objective == "convergence" or (cap is not None and cap.objective == "convergence")
        self.byte_unit = _byte_unit(problem.active_bytes)
        self.chords: set[tuple[int, int]] = set()
        self.pyomo = new_model("allocation")
        self._add_counts()
        self._add_client_rows()
        if self.needs_f1:
            self._add_convergence()
        if objective == "vram" and problem.vram_objective == "worst_share":
            self._add_worst_share()
        self._add_cap()
        self._add_objective()

    @property
    def is_lazy(self) -> bool:
        """Whether some chord rows are missing until they are needed."""
        return self.needs_f1 and self.problem.clients > ALL_CHORDS_UP_TO

    # --- building -----------------------------------------------------------------------------------------------

    def _cap_is_in_budgets(self, cap: Cap) -> bool:
        return cap.objective == "vram" and self.problem.vram_objective == "worst_share"

    def _add_counts(self) -> None:
        model, problem = self.pyomo, self.problem
        model.R = pyo.RangeSet(0, len(self.groups) - 1)
        model.B = pyo.RangeSet(0, problem.blocks - 1)

        def limits(_: Any, r: int, b: int) -> tuple[int, int]:
            group = self.groups[r]
            fits = problem.active_bytes[group.members[0], b] <= problem.room_bytes[group.members[0]]
            return (0, group.size if group.block_bytes is not None or fits else 0)

        model.y = pyo.Var(model.R, model.B, domain=pyo.Integers, bounds=limits)
        model.holders = pyo.Var(model.B, domain=pyo.Reals, bounds=(0, problem.clients))
        model.count = pyo.Constraint(model.B, rule=lambda m, b: m.holders[b] == sum(m.y[r, b] for r in m.R))
        model.coverage = pyo.Constraint(model.B, rule=lambda m, b: m.holders[b] >= problem.coverage)

    def _add_client_rows(self) -> None:
        model, problem, groups = self.pyomo, self.problem, self.groups

        def held(m: Any, r: int) -> Any:
            return sum(m.y[r, b] for b in m.B)

        def budget(m: Any, r: int) -> Any:
            group = groups[r]
            if group.block_bytes is not None:
                # Equal blocks: the byte budget is a whole number of blocks, exactly.
                return held(m, r) <= group.size * group.capacity
            client = group.members[0]
            coefficients, room = _whole_row(problem.active_bytes[client], int(problem.room_bytes[client]))
            return sum(coefficients[b] * m.y[r, b] for b in m.B) <= room

        model.budget = pyo.Constraint(model.R, rule=budget)
        model.at_least_one = pyo.Constraint(model.R, rule=lambda m, r: held(m, r) >= groups[r].size)
        if problem.max_blocks is not None:
            model.at_most = pyo.Constraint(
                model.R, rule=lambda m, r: held(m, r) <= groups[r].size * problem.block_limit
            )
        model.cover = pyo.ConstraintList()  # exact cuts, see `forbid`

    def _add_convergence(self) -> None:
        model, problem = self.pyomo, self.problem
        clients = problem.clients
        model.inverse = pyo.Var(model.B, domain=pyo.Reals, bounds=(1, clients))
        model.chord = pyo.Constraint(pyo.Any)
        scale = objectives.f1_scale(problem)
        rare = (problem.block_weight / scale).tolist()
        shared = (problem.beta * problem.shared_cost / scale).tolist()
        model.f1 = pyo.Expression(expr=sum(rare[b] * model.inverse[b] + shared[b] * model.holders[b] for b in model.B))
        if self.is_lazy:
            # A coarse grid to start from; the relaxation and the incumbent say where more are needed.
            grid = {min(int(1.5**i), clients - 1) for i in range(1 + math.ceil(math.log(clients, 1.5)))}
        else:
            grid = set(range(1, clients))
        for b in range(problem.blocks):
            for k in sorted(grid):
                self._add_chord(b, k)

    def _add_worst_share(self) -> None:
        model, problem, groups = self.pyomo, self.problem, self.groups
        model.share = pyo.Var(domain=pyo.NonNegativeReals)
        # A merged group's fullest member holds `level` blocks: with counts dealt round robin, the mean rounded up.
        model.M = pyo.Set(initialize=[r for r, group in enumerate(groups) if group.block_bytes is not None])
        model.level = pyo.Var(model.M, domain=pyo.Integers, bounds=(0, problem.blocks))
        model.fullest = pyo.Constraint(
            model.M, rule=lambda m, r: sum(m.y[r, b] for b in m.B) <= groups[r].size * m.level[r]
        )

        def worst(m: Any, r: int) -> Any:
            group, client = groups[r], groups[r].members[0]
            per_byte = SHARE_SCALE / int(problem.budget_bytes[client])
            if group.block_bytes is not None:
                extra = group.block_bytes * per_byte * m.level[r]
            else:
                extra = sum(int(problem.active_bytes[client, b]) * per_byte * m.y[r, b] for b in m.B)
            return m.share >= int(problem.base_bytes[client]) * per_byte + extra

        model.worst_share = pyo.Constraint(model.R, rule=worst)

    def _total_units(self) -> Any:
        """Active bytes of all clients in units of `byte_unit`."""
        bytes_of = [self.problem.active_bytes[group.members[0]] for group in self.groups]
        m = self.pyomo
        return sum(int(bytes_of[r][b]) / self.byte_unit * m.y[r, b] for r in m.R for b in m.B)

    def _add_cap(self) -> None:
        if self.cap is None:
            return
        if self.cap.objective == "convergence":
            self._cap_limit = self.cap.limit
            self.pyomo.convergence_cap = pyo.Constraint(expr=self.pyomo.f1 <= self._cap_limit)
            return
        self._cap_limit = (int(self.cap.limit) - int(self.problem.base_bytes.sum())) / self.byte_unit
        self.pyomo.vram_cap = pyo.Constraint(expr=self._total_units() <= self._cap_limit)

    def _add_objective(self) -> None:
        m, problem = self.pyomo, self.problem
        if self.objective == "convergence":
            self.unit, expression = 1.0, m.f1
        elif problem.vram_objective == "worst_share":
            self.unit, expression = 1.0 / SHARE_SCALE, m.share
        else:
            self.unit = self.byte_unit
            expression = self._total_units() + int(problem.base_bytes.sum()) / self.byte_unit
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

    def add_chords_at(self, counts: np.ndarray, reach: int) -> int:
        """Chords around N_b = `counts` [L], `reach` whole numbers each way. Returns how many are new."""
        if not self.is_lazy:
            return 0
        new = 0
        for block, count in enumerate(counts.tolist()):
            at = math.floor(count)
            new += sum(self._add_chord(block, k) for k in range(at - reach, at + reach))
        return new

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

    def forbid(self, active: np.ndarray) -> bool:
        """A cover cut: these entries of [N, L] `active` cannot all be 1, because their exact bytes are too many.

        Returns False, adding nothing, where an entry lies in a merged group (a count does not say whose it is).
        """
        row_of = {group.members[0]: r for r, group in enumerate(self.groups) if group.size == 1}
        entries = [(int(client), int(block)) for client, block in np.argwhere(active)]
        if any(client not in row_of for client, _ in entries):
            return False
        self.pyomo.cover.add(sum(self.pyomo.y[row_of[client], b] for client, b in entries) <= len(entries) - 1)
        return True

    def tighten_cap(self, by: float) -> None:
        """Lower the cap row's right-hand side by `by` (f1, or bytes), after an answer broke it within tolerance."""
        assert self.cap is not None, "there is no cap row to tighten"
        if self.cap.objective == "convergence":
            self._cap_limit -= by
            self.pyomo.convergence_cap.set_value(self.pyomo.f1 <= self._cap_limit)
        else:
            self._cap_limit -= by / self.byte_unit
            self.pyomo.vram_cap.set_value(self._total_units() <= self._cap_limit)

    def point(self) -> np.ndarray:
        """[N, L] bool: the solver's counts, rounded and dealt out to the clients. Not yet checked."""
        counts = np.zeros((len(self.groups), self.problem.blocks), dtype=np.int64)
        for (r, b), variable in self.pyomo.y.items():
            counts[r, b] = round(variable.value)
        return deal(counts, self.groups, self.problem.clients)

    def suggest(self, active: np.ndarray) -> None:
        """Write a known feasible matrix into the variables, for the solver to start from."""
        m, counts, held = self.pyomo, counts_of(active, self.groups), objectives.holders(active)
        for r, group in enumerate(self.groups):
            for b in range(self.problem.blocks):
                m.y[r, b].set_value(int(counts[r, b]), skip_validation=True)
            if hasattr(m, "level") and r in m.level:
                m.level[r].set_value(-(-int(counts[r].sum()) // group.size), skip_validation=True)
        for b in range(self.problem.blocks):
            m.holders[b].set_value(int(held[b]), skip_validation=True)
            if self.needs_f1:
                m.inverse[b].set_value(self.problem.clients / int(held[b]), skip_validation=True)
        if hasattr(m, "share"):
            m.share.set_value(SHARE_SCALE * objectives.worst_share(active, self.problem), skip_validation=True)


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
