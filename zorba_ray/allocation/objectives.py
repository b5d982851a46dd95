"""The objectives as plain functions of the 0/1 matrix; what a step reports comes from here, never from the solver.

Every function takes the matrix [N, L] bool with the AllocationProblem, or the counts [G, L] of its groups of equal
clients with the Merged problem, whose rows stand for `size` clients each. Source: algorithm.md sections 5 and 7 (ours).
"""

from typing import Literal

import numpy as np

from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.problem import AllocationProblem, Objective
from zorba_ray.errors import ConfigError

Rows = AllocationProblem | Merged
"""The problem whose rows the matrix has."""

ROWS_AT_ONCE = 4_096
Weighting = Literal["data", "inverse_noise"]


def holders(active: np.ndarray) -> np.ndarray:
    """[L] int64: N_b, on how many clients each block is active."""
    return active.sum(axis=0, dtype=np.int64)


def f1_scale(problem: Rows) -> float:
    """N times the surrogate at "everybody active": Σ ω_b + N β Σ γ_b, the divisor that makes f1 = 1 there."""
    shared = problem.clients * problem.beta * float(problem.shared_cost.sum())
    return float(problem.block_weight.sum()) + shared


def f1(active: np.ndarray, problem: Rows) -> float:
    """Convergence surrogate Σ_b ω_b / N_b + β Σ_n Σ_b γ_b a_{n,b} / N, divided by its value for "everybody active".

    No unit; infinite when a block is active nowhere. Both terms depend on N_b alone.
    """
    count = holders(active)
    if (count == 0).any():
        return float("inf")
    rare = problem.clients * float((problem.block_weight / count).sum())
    shared = problem.beta * float((problem.shared_cost * count).sum())
    return (rare + shared) / f1_scale(problem)


def active_bytes_of(active: np.ndarray, problem: Rows) -> np.ndarray:
    """[rows] int64: bytes of the active blocks of each row, all its clients together."""
    # In pieces: no [N, L] temporary of 8-byte numbers.
    pieces = [
        (active[first : first + ROWS_AT_ONCE] * problem.active_bytes[first : first + ROWS_AT_ONCE]).sum(axis=1)
        for first in range(0, len(active), ROWS_AT_ONCE)
    ]
    return np.concatenate(pieces)


def client_bytes(active: np.ndarray, problem: AllocationProblem) -> np.ndarray:
    """[N] int64: bytes each client holds with its blocks active."""
    return problem.base_bytes + active_bytes_of(active, problem)


def f2_bytes(active: np.ndarray, problem: Rows) -> int:
    """Bytes of all clients together."""
    return problem.total_base + int(active_bytes_of(active, problem).sum())


def worst_share(active: np.ndarray, problem: Rows) -> float:
    """The largest bytes_n / V_n over the clients. In a group it is that of the member with the most blocks."""
    fullest = active_bytes_of(active, problem)
    if (problem.size > 1).any():
        # Blocks cost the same in a group, and are dealt so that numbers of blocks differ by at most 1.
        level = -(-active.sum(axis=1, dtype=np.int64) // problem.size)
        fullest = np.where(problem.size > 1, level * problem.active_bytes[:, 0], fullest)
    return float(((problem.base_bytes + fullest) / problem.budget_bytes).max())


def client_seconds(active: np.ndarray, problem: Rows) -> np.ndarray:
    """[rows] float64: time_n = Σ_b t_{n,b} (1 + s_{n,b}) + Σ_{b frozen} stream_{n,b}, s = 1 from A_n's first.

    One forward pair with the prefix shared: blocks before the first active one run once, the others for both signs.
    Rows must stand for one client each. Raises ConfigError where the problem has no times.
    """
    if problem.block_seconds is None:
        raise ConfigError("allocation: the round time needs block_seconds [N, L]")
    assert (problem.size == 1).all(), "clients are not merged where times count"
    held = active.astype(bool)
    seconds = (problem.block_seconds * (1 + np.logical_or.accumulate(held, axis=1))).sum(axis=1)
    if problem.stream_seconds is not None:
        seconds = seconds + np.where(held, 0.0, problem.stream_seconds).sum(axis=1)
    return seconds


def round_seconds(active: np.ndarray, problem: Rows) -> float:
    """f3: the seconds of the slowest client, or of all together (`time_objective`)."""
    seconds = client_seconds(active, problem)
    return float(seconds.max() if problem.time_objective == "slowest" else seconds.sum())


def value(objective: Objective, active: np.ndarray, problem: Rows) -> float:
    """f1 for "convergence", total bytes or worst share for "vram", `round_seconds` for "time"."""
    if objective == "convergence":
        return f1(active, problem)
    if objective == "time":
        return round_seconds(active, problem)
    return worst_share(active, problem) if problem.vram_objective == "worst_share" else float(f2_bytes(active, problem))


def unavoidable(objective: Objective, problem: Rows) -> float:
    """What every allocation has of the objective, in its unit: for "vram" the bytes of all bases, or the largest share
    of a budget that a base takes; 0 for the others, which have no such part."""
    if objective != "vram":
        return 0.0
    if problem.vram_objective == "worst_share":
        return float((problem.base_bytes / problem.budget_bytes).max())
    return float(problem.total_base)


def relative_gap(objective: Objective, value: float, bound: float, problem: Rows) -> float:
    """(value − bound) / (value − unavoidable), never negative: how much of what the allocation decides may be too much.

    The base of a client often outweighs its active blocks a hundred times; counted in, a gap would be small for any
    allocation. 0 where nothing is decided, infinite without a bound or a value. Source: algorithm.md section 7.
    """
    if not np.isfinite(value) or not np.isfinite(bound):
        return float("inf")
    decided = value - unavoidable(objective, problem)
    return max(0.0, (value - bound) / decided) if decided > 0 else 0.0


def exact_variance(
    active: np.ndarray,
    problem: AllocationProblem,
    weighting: Weighting,
    block_sizes: np.ndarray,
    directions: int,
    energies: np.ndarray | None = None,
) -> float:
    """Variance of one round's update with per-client seeds, Σ_b (d_b/P) Σ_{n∈N_b} w_{n,b}² Σ_{c∈A_n} e_c.

    f1 is a surrogate of this. `block_sizes` is [L] d_b (parameters in scope), `directions` is P, `energies` is [L]
    e_c = g_c² + σ_c² (1 for every block when not given). Weights: "data" is p_n over the holders of the block,
    "inverse_noise" is ∝ p_n / |A_n|. A block that nobody holds does not move and adds nothing.
    Raises ConfigError for an unknown weighting or directions < 1. Source: algorithm.md section 5.
    """
    if weighting not in ("data", "inverse_noise"):
        raise ConfigError(f"weighting = {weighting!r} must be 'data' or 'inverse_noise'")
    if directions < 1:
        raise ConfigError(f"directions = {directions!r} must be at least 1")
    energy = np.ones(problem.blocks) if energies is None else np.asarray(energies, dtype=np.float64)
    noise = active @ energy  # [N] Σ_{c∈A_n} e_c: one scalar carries the noise of all blocks its client perturbs
    share = problem.data_weight.copy()
    if weighting == "inverse_noise":
        share = share / np.maximum(active.sum(axis=1), 1)
    mass = np.where(active, share[:, None], 0.0)  # [N, L], not yet divided by the holders' sum
    total = mass.sum(axis=0)
    weight = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    per_block = (weight**2 * noise[:, None]).sum(axis=0)
    return float((np.asarray(block_sizes, dtype=np.float64) / directions * per_block).sum())
