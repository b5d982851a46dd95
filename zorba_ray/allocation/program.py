"""The allocation as a mixed-integer linear program in Pyomo.

Indices: r group of equal clients (one client where nothing merges), b block, k chord. Variables and constraints:

    y[r,b]            how many members of group r hold block b, 0 .. size (0/1 for a single client); its bounds fix it
                      if they must or must not hold the block
    holders[b] = N_b  count[b]:         N_b = Σ_r y[r,b]; a variable of its own keeps chord rows at two entries
    inverse[b] = U_b  chord[b,k]:       U_b ≥ N (2k + 1 − N_b) / (k (k + 1)), so U_b = N / N_b at whole N_b; U_b ≥ 1
    share             worst_share[r]:   share ≥ bytes_r / V_r − the largest base_r / V_r
    started[r,b]      start[r,b], stays[r,b]: started ≥ y[r,b] and ≥ started[r,b−1], so 1 from the first active on
    slowest           wait[r]:          slowest ≥ Σ_b t_b (1 + started[r,b]) + stream_b (1 − y[r,b])
                      budget[r], coverage[b], at_least[r], at_most[r], cap_convergence, cap_vram, cap_time

Variables and rows of an objective are added only if it is minimised or has a cap (an upper limit).
U_b is N / N_b and not 1 / N_b, because at large N the latter is smaller than the solver's tolerances.
Source: docs/algorithm.md section 7 (ours).
"""

import math
from typing import Any

import numpy as np
import pyomo.environ as pyo

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import Groups
from zorba_ray.allocation.objectives import Cap, Caps
from zorba_ray.allocation.problem import Objective

# Up to this many clients every chord is a row from the start; with more clients, rows are added as the solver needs
# them.
ALL_CHORDS_UP_TO = 32
# Around a known point, chords are also added at these multiples of N_b. The error between two of them is at most 1e-4.
CHORDS_AROUND = (0.7, 0.85, 0.95, 0.98, 0.99, 1.01, 1.02, 1.05, 1.2, 1.4)
# The worst share and the longest time are scaled to this size, so that the solver's absolute tolerances matter little.
SCALE = 1000.0
# The solver treats rows of whole numbers exactly up to about this size (its integrality tolerance is 1e-6).
EXACT_UNITS = 100_000


class Program:
    """The program of one step: minimise `objective`, with caps on the other ones.

    A cap on the worst share must already be in the budgets (`objectives.within_share`).
    """

    def __init__(self, groups: Groups, objective: Objective, caps: Caps) -> None:
        self.groups = groups
        caps = tuple(cap for cap in caps if not cap.is_share(groups))
        used = {objective, *(cap.objective for cap in caps)}
        self.is_lazy = "convergence" in used and groups.source.clients > ALL_CHORDS_UP_TO
        """Whether chord rows are added only when they are needed."""
        self.unavoidable = objectives.unavoidable(objective, groups)
        """Subtracted from the program's objective, so that the solver's relative gap is `relative_gap`. In natural
        units."""
        self.units: dict[Objective, float] = {"convergence": 1.0}
        """Objective -> natural units (bytes, seconds) per unit of its expression in the program."""
        self.model = new_model("allocation")
        self._chords: set[tuple[int, int]] = set()
        self._limits: dict[Objective, float] = {}
        self._add_counts()
        if "convergence" in used:
            self._add_convergence()
        if "vram" in used:
            self._add_vram()
        if "time" in used:
            self._add_time()
        self.model.goal = pyo.Objective(expr=self._goals(objective))
        for cap in caps:
            # The row counts the bytes above the bases. They are subtracted as whole numbers, which is exact.
            bases = int(groups.source.base_bytes.sum())
            limit = int(cap.limit) - bases if cap.objective == "vram" else cap.limit
            self._set_cap(cap.objective, limit / self.units[cap.objective])

    # --- building -----------------------------------------------------------------------------------------------

    def _add_counts(self) -> None:
        model, groups, source = self.model, self.groups, self.groups.source
        model.R = pyo.RangeSet(0, len(groups.size) - 1)
        model.B = pyo.RangeSet(0, source.blocks - 1)
        low, high = groups.low.tolist(), groups.high.tolist()
        model.y = pyo.Var(model.R, model.B, domain=pyo.Integers, bounds=lambda _, r, b: (low[r][b], high[r][b]))
        model.holders = pyo.Var(model.B, domain=pyo.Reals, bounds=(0, source.clients))
        model.count = pyo.Constraint(model.B, rule=lambda m, b: m.holders[b] == sum(m.y[r, b] for r in m.R))
        model.coverage = pyo.Constraint(model.B, rule=lambda m, b: m.holders[b] >= source.coverage)
        least, most = (groups.size * groups.least).tolist(), (groups.size * groups.capacity).tolist()

        def total_of(m: Any, r: int) -> Any:
            return sum(m.y[r, b] for b in m.B)

        def budget(m: Any, r: int) -> Any:
            if groups.equal[r]:
                # Blocks are equal, so the budget is exactly a whole number of blocks.
                return total_of(m, r) <= most[r]
            row, slack = groups.active_bytes[r], int(groups.slack_bytes[r])
            unit = _unit(row, slack, otherwise=int(row.max()))
            return sum(int(row[b]) / unit * m.y[r, b] for b in m.B) <= slack / unit

        model.budget = pyo.Constraint(model.R, rule=budget)
        model.at_least = pyo.Constraint(model.R, rule=lambda m, r: total_of(m, r) >= least[r])
        if source.max_blocks is not None:
            model.at_most = pyo.Constraint(model.R, rule=lambda m, r: total_of(m, r) <= most[r])
        model.cover = pyo.ConstraintList()  # exact cuts, see `forbid`

    def _add_convergence(self) -> None:
        model, clients = self.model, self.groups.source.clients
        model.inverse = pyo.Var(model.B, domain=pyo.Reals, bounds=(1, clients))
        model.chord = pyo.Constraint(pyo.Any)
        terms, slopes = objectives.f1_terms(self.groups)
        rare, shared = (terms / clients).tolist(), slopes.tolist()
        model.f1 = pyo.Expression(expr=sum(rare[b] * model.inverse[b] + shared[b] * model.holders[b] for b in model.B))
        # A coarse grid is enough to start; the relaxation and the best point show where more chords are needed.
        coarse = {min(2**i, clients - 1) for i in range(1 + math.ceil(math.log2(clients)))}
        for k in sorted(coarse if self.is_lazy else range(1, clients)):
            for b in model.B:
                self._add_chord(b, k)

    def _add_vram(self) -> None:
        model, groups = self.model, self.groups
        if groups.source.vram_objective == "total_bytes":
            sizes = groups.active_bytes
            self.units["vram"] = _unit(sizes, int(sizes.max()), otherwise=round(float(sizes.mean())))
            units = (groups.active_bytes / self.units["vram"]).tolist()
            model.total = pyo.Expression(expr=sum(units[r][b] * model.y[r, b] for r in model.R for b in model.B))
            return
        self.units["vram"] = 1.0 / SCALE
        model.share = pyo.Var(domain=pyo.NonNegativeReals)
        # `level` is the number of blocks of the fullest member of a merged group. `deal` gives blocks in turn, so it is
        # the mean rounded up.
        model.M = pyo.Set(initialize=np.flatnonzero(groups.equal).tolist())
        model.level = pyo.Var(model.M, domain=pyo.Integers, bounds=(0, groups.source.blocks))
        model.fullest = pyo.Constraint(
            model.M, rule=lambda m, r: sum(m.y[r, b] for b in m.B) <= int(groups.size[r]) * m.level[r]
        )
        per_byte = SCALE / groups.budget_bytes
        base = (per_byte * groups.base_bytes - SCALE * self.unavoidable).tolist()
        extra = (per_byte[:, None] * groups.active_bytes).tolist()

        def worst(m: Any, r: int) -> Any:
            if groups.equal[r]:
                return m.share >= base[r] + extra[r][0] * m.level[r]
            return m.share >= base[r] + sum(extra[r][b] * m.y[r, b] for b in m.B)

        model.worst_share = pyo.Constraint(model.R, rule=worst)

    def _add_time(self) -> None:
        """Each row is one client, because clients are not merged if time is an objective."""
        model, groups = self.model, self.groups
        assert groups.block_seconds is not None, "AllocationProblem refuses an order with time and without seconds"
        streamed = np.zeros_like(groups.block_seconds) if groups.stream_seconds is None else groups.stream_seconds
        longest = float((2 * groups.block_seconds.sum(axis=1)).max()) + float(streamed.sum(axis=1).max())
        unit = self.units["time"] = longest / SCALE or 1.0
        compute, stream = (groups.block_seconds / unit).tolist(), (streamed / unit).tolist()
        # `started` need not be declared integer: with whole y, the smallest value that satisfies the rows is 0 or 1.
        model.started = pyo.Var(model.R, model.B, bounds=(0, 1))
        model.start = pyo.Constraint(model.R, model.B, rule=lambda m, r, b: m.started[r, b] >= m.y[r, b])

        def stays(m: Any, r: int, b: int) -> Any:
            return m.started[r, b] >= m.started[r, b - 1] if b > 0 else pyo.Constraint.Skip

        def seconds(m: Any, r: int) -> Any:
            return sum(compute[r][b] * (1 + m.started[r, b]) + stream[r][b] * (1 - m.y[r, b]) for b in m.B)

        model.stays = pyo.Constraint(model.R, model.B, rule=stays)
        model.slowest = pyo.Var(domain=pyo.NonNegativeReals)
        model.wait = pyo.Constraint(model.R, rule=lambda m, r: m.slowest >= seconds(m, r))

    def _goals(self, objective: Objective) -> Any:
        """The expression of an objective, in its unit."""
        model = self.model
        if objective == "vram":
            return model.share if self.groups.source.vram_objective == "worst_share" else model.total
        return model.f1 if objective == "convergence" else model.slowest

    def _set_cap(self, objective: Objective, limit: float) -> None:
        self._limits[objective] = limit
        name = f"cap_{objective}"
        self.model.del_component(name)
        self.model.add_component(name, pyo.Constraint(expr=self._goals(objective) <= limit))

    def _add_chord(self, block: int, k: int) -> bool:
        """The line through 1/k and 1/(k + 1), times N. Returns whether it is new."""
        clients = self.groups.source.clients
        if (block, k) in self._chords or not 1 <= k <= clients - 1:
            return False
        model, slope = self.model, clients / (k * (k + 1))
        self._chords.add((block, k))
        model.chord[block, k] = model.inverse[block] + slope * model.holders[block] >= slope * (2 * k + 1)
        return True

    # --- used by the loop around the solver -----------------------------------------------------------------------

    def add_chords_at(self, holders: np.ndarray) -> None:
        """Adds chords around N_b = `holders` [L]: at its neighbours, and at the multiples in CHORDS_AROUND."""
        for block, count in enumerate(holders.tolist() if self.is_lazy else []):
            near = [count + step for step in range(-2, 2)]
            for k in {*near, *(round(count * factor) for factor in CHORDS_AROUND)}:
                self._add_chord(block, k)

    def add_violated_chords(self) -> int:
        """Adds the chords that the present values of N_b and U_b violate by more than 1e-7. Returns how many."""
        if not self.is_lazy:
            return 0
        new, clients = 0, self.groups.source.clients
        for block in self.model.B:
            holders, inverse = self.model.holders[block].value, self.model.inverse[block].value
            k = min(max(math.floor(holders), 1), clients - 1)
            if inverse < clients * (2 * k + 1 - holders) / (k * (k + 1)) - 1e-7:
                # Two chords meet at a whole N_b. With only one of them U_b would be too small on the other side.
                new += self._add_chord(block, k) + self._add_chord(block, k - 1)
        return new

    def forbid(self, entries: np.ndarray) -> bool:
        """Adds a cover cut: these entries of [G, L] cannot all be 1, because their exact bytes are too many.

        Returns False and adds nothing if an entry is in a merged group, where a count does not name single clients.
        """
        listed = np.argwhere(entries > 0).tolist()
        if any(self.groups.size[r] > 1 for r, _ in listed):
            return False
        self.model.cover.add(sum(self.model.y[r, b] for r, b in listed) <= len(listed) - 1)
        return True

    def tighten(self, cap: Cap, by: float) -> None:
        """Lowers a cap by `by` (f1, bytes or seconds), after an answer exceeded it within the solver's tolerance."""
        self._set_cap(cap.objective, self._limits[cap.objective] - by / self.units[cap.objective])

    def counts(self) -> np.ndarray:
        """[G, L] int64: the solver's counts, rounded. Not yet checked."""
        counts = np.zeros(self.groups.active_bytes.shape, dtype=np.int64)
        for entry, variable in self.model.y.items():
            counts[entry] = round(variable.value)
        return counts

    def suggest(self, counts: np.ndarray) -> None:
        """Writes feasible counts [G, L] into the variables, as the starting point of the solver."""
        m, groups = self.model, self.groups
        for entry, variable in m.y.items():
            variable.set_value(int(counts[entry]), skip_validation=True)
        for b, holders in enumerate(counts.sum(axis=0).tolist()):
            m.holders[b].set_value(holders, skip_validation=True)
            if hasattr(m, "inverse"):
                m.inverse[b].set_value(groups.source.clients / holders, skip_validation=True)
        if hasattr(m, "share"):
            for r in m.M:
                m.level[r].set_value(-(-int(counts[r].sum()) // int(groups.size[r])), skip_validation=True)
            m.share.set_value(SCALE * (objectives.worst_share(counts, groups) - self.unavoidable), skip_validation=True)
        if hasattr(m, "started"):
            started = np.logical_or.accumulate(counts > 0, axis=1)
            for entry, variable in m.started.items():
                variable.set_value(int(started[entry]), skip_validation=True)
            slowest = float(objectives.client_seconds(counts, groups).max())
            m.slowest.set_value(slowest / self.units["time"], skip_validation=True)


def new_model(name: str) -> Any:
    """An empty Pyomo model. Its type is Any, because a type checker does not know its components."""
    return pyo.ConcreteModel(name=name)


def _unit(sizes: np.ndarray, largest: int, otherwise: int) -> int:
    """The unit of a row of bytes: the common divisor if that gives small whole numbers, else `otherwise`."""
    divisor = int(np.gcd.reduce(sizes, axis=None))
    return divisor if largest // divisor <= EXACT_UNITS else otherwise
