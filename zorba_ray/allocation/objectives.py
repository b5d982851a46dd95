"""The objectives as functions of the matrix, upper limits (caps) on them, and lower bounds by counting.

Every reported value is computed here, never taken from the solver. `active` is the matrix [N, L] bool together with an
AllocationProblem, or counts [G, L] together with Groups. Source: docs/algorithm.md sections 5 and 7 (ours).
"""

from dataclasses import dataclass, replace

import numpy as np

from zorba_ray.allocation.classes import Groups
from zorba_ray.allocation.problem import AllocationProblem, Objective
from zorba_ray.errors import ConfigError

Rows = AllocationProblem | Groups
"""The problem whose rows the matrix has."""

# A value may exceed a cap by this relative amount: f1 and seconds are sums of floats, whose last digits depend on the
# order of the terms. Bytes are exact.
_ROUNDING = 1e-9


def _source(problem: Rows) -> AllocationProblem:
    return problem.source if isinstance(problem, Groups) else problem


def f1_scale(problem: Rows) -> float:
    """Σ ω_b + N β Σ γ_b: the divisor that makes f1 = 1 when every client activates every block."""
    source = _source(problem)
    return float(source.block_weight.sum()) + source.clients * source.beta * float(source.shared_cost.sum())


def f1_terms(problem: Rows) -> tuple[np.ndarray, np.ndarray]:
    """[L] float64 r_b and s_b of f1 = Σ_b r_b / N_b + s_b N_b."""
    source, scale = _source(problem), f1_scale(problem)
    return source.clients * source.block_weight / scale, source.beta * source.shared_cost / scale


def f1(active: np.ndarray, problem: Rows) -> float:
    """Convergence surrogate Σ_b ω_b / N_b + β Σ_n Σ_b γ_b a_{n,b} / N, divided by its value with all blocks active.

    It has no unit, and is infinite if a block is active on no client. Both terms depend only on N_b.
    """
    source, count = _source(problem), active.sum(axis=0, dtype=np.int64)
    if (count == 0).any():
        return float("inf")
    rare = source.clients * float((source.block_weight / count).sum())
    return (rare + source.beta * float((source.shared_cost * count).sum())) / f1_scale(problem)


def active_bytes_of(active: np.ndarray, problem: Rows) -> np.ndarray:
    """[rows] int64: bytes of the active blocks of each row, summed over all clients of the row."""
    # einsum avoids a temporary [N, L] array of 8-byte numbers.
    return np.einsum("rb,rb->r", active, problem.active_bytes, dtype=np.int64, casting="unsafe")


def f2_bytes(active: np.ndarray, problem: Rows) -> int:
    """Bytes of all clients together."""
    return int(_source(problem).base_bytes.sum()) + int(active_bytes_of(active, problem).sum())


def worst_share(active: np.ndarray, problem: Rows) -> float:
    """The largest bytes_n / V_n over the clients. A group counts with its member with the most blocks."""
    fullest = active_bytes_of(active, problem)
    if isinstance(problem, Groups):
        # In a group all blocks cost the same, and `deal` gives its members numbers of blocks that differ by at most 1.
        level = -(-active.sum(axis=1, dtype=np.int64) // problem.size)
        fullest = np.where(problem.size > 1, level * problem.active_bytes[:, 0], fullest)
    return float(((problem.base_bytes + fullest) / problem.budget_bytes).max())


def client_seconds(active: np.ndarray, problem: Rows) -> np.ndarray:
    """[rows] float64: time_n = Σ_b t_{n,b} (1 + s_{n,b}) + Σ_{b frozen} stream_{n,b}; s = 1 from the first active
    block.

    This is one forward pair with a shared prefix: blocks before the first active one run once, the others run for both
    signs. Each row must be one client.

    Raises:
        ConfigError: the problem has no times.
    """
    if problem.block_seconds is None:
        raise ConfigError("allocation: the round time needs block_seconds [N, L]")
    is_active = active.astype(bool)
    seconds = (problem.block_seconds * (1 + np.logical_or.accumulate(is_active, axis=1))).sum(axis=1)
    if problem.stream_seconds is not None:
        seconds = seconds + np.where(is_active, 0.0, problem.stream_seconds).sum(axis=1)
    return seconds


def round_seconds(active: np.ndarray, problem: Rows) -> float:
    """f3: the seconds of the slowest client, for which a round waits."""
    return float(client_seconds(active, problem).max())


def value(objective: Objective, active: np.ndarray, problem: Rows) -> float:
    """f1 for "convergence", total bytes or worst share for "vram", `round_seconds` for "time"."""
    if objective == "convergence":
        return f1(active, problem)
    if objective == "time":
        return round_seconds(active, problem)
    is_share = _source(problem).vram_objective == "worst_share"
    return worst_share(active, problem) if is_share else float(f2_bytes(active, problem))


# --- gaps and bounds --------------------------------------------------------------------------------------------------


def unavoidable(objective: Objective, problem: Rows) -> float:
    """The part of the objective's value that every allocation has, in its unit: for "vram" the bytes of all bases, or
    the largest share of a budget that a base takes; 0 for the other objectives."""
    if objective != "vram":
        return 0.0
    if _source(problem).vram_objective == "worst_share":
        return float((problem.base_bytes / problem.budget_bytes).max())
    return float(_source(problem).base_bytes.sum())


def relative_gap(objective: Objective, value: float, bound: float, problem: Rows) -> float:
    """(value − bound) / (value − unavoidable), never negative: the distance from the optimum, relative to what the
    allocation decides.

    The base of a client is often a hundred times larger than its active blocks. With the base in the denominator every
    allocation would have a small gap. 0 if the allocation decides nothing; infinite without a bound or a value.
    Source: docs/algorithm.md section 7.
    """
    if not np.isfinite(value) or not np.isfinite(bound):
        return float("inf")
    decided = value - unavoidable(objective, problem)
    return max(0.0, (value - bound) / decided) if decided > 0 else 0.0


def counting_bound(problem: Groups, objective: Objective) -> float:
    """A lower bound (f1, bytes, share or seconds) of all valid allocations. It is weak, but needs no solver.

    Every block must have enough clients that can hold it.
    """
    source = problem.source
    if objective == "convergence":
        # Every block has its best whole number of holders. The term is convex, so that is next to its minimum `root`.
        rare, shared = f1_terms(problem)
        high = np.maximum(problem.high.sum(axis=0), source.coverage)
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.where(shared > 0, np.sqrt(rare / shared), np.inf)
        below = np.floor(np.minimum(root, high)).clip(source.coverage, high)
        above = np.minimum(below + 1, high)
        return float(np.minimum(rare / below + shared * below, rare / above + shared * above).sum())
    if objective == "time":
        # The least time: nothing is active and nothing is streamed, so every block runs once.
        nothing = replace(problem, stream_seconds=None)
        return round_seconds(np.zeros(problem.active_bytes.shape, dtype=bool), nothing)
    # The least memory: every client has its cheapest block, or those that it must hold.
    open_bytes = np.where(problem.forbidden, problem.active_bytes.max(), problem.active_bytes).min(axis=1)
    cheapest = np.maximum(active_bytes_of(problem.required, problem), open_bytes)
    if source.vram_objective == "worst_share":
        return float(((problem.base_bytes + cheapest) / problem.budget_bytes).max())
    return float(int(source.base_bytes.sum()) + int((problem.size * cheapest).sum()))


# --- caps -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cap:
    """`objective` may be at most `limit` (f1 without a unit, bytes, a share of a budget, or seconds)."""

    objective: Objective
    limit: float

    def over(self, counts: np.ndarray, problem: Rows) -> float:
        """By how much the matrix or counts are over the limit, evaluated exactly; 0 when they keep it."""
        forgiven = 0.0 if self.objective == "vram" else self.limit * _ROUNDING
        reached = value(self.objective, counts, problem)
        return 0.0 if reached <= self.limit + forgiven else reached - self.limit

    def text(self, problem: Groups) -> str:
        """For people: "f1 <= 1.25", "total bytes <= 12,000", "worst share <= 0.8", "seconds <= 0.4"."""
        if self.objective == "vram" and not self.is_share(problem):
            return f"total bytes <= {int(self.limit):,}"
        name = {"convergence": "f1", "time": "seconds", "vram": "worst share"}[self.objective]
        return f"{name} <= {self.limit:.9g}"

    def is_share(self, problem: Groups) -> bool:
        """Whether `within_share` writes this cap into the budgets, so that no row is needed for it."""
        return self.objective == "vram" and problem.source.vram_objective == "worst_share"


Caps = tuple[Cap, ...]


def are_kept(caps: Caps, counts: np.ndarray, problem: Groups) -> bool:
    """Whether the counts satisfy all caps."""
    return all(cap.over(counts, problem) == 0 for cap in caps)


def within_share(problem: Groups, caps: Caps) -> Groups:
    """The problem with smaller budgets, in place of a cap on the worst share. Unchanged if there is no such cap.

    The new budget is the largest B with B / V_n <= limit, in the float64 division that also computes a share. So a
    point whose share is exactly the limit stays feasible.
    """
    shares = [cap.limit for cap in caps if cap.is_share(problem)]
    if not shares:
        return problem
    limit, budget = min(shares), problem.budget_bytes
    most = np.minimum((limit * budget).astype(np.int64), budget)
    while (more := (most < budget) & ((most + 1) / budget <= limit)).any():
        most = most + more
    while (over := most / budget > limit).any():
        most = most - over
    return problem.within(most)
