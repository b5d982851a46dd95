"""Lower bounds of the objectives by counting alone: weak, instant, and valid when no solver ran at all.

Source: the constraints of algorithm.md section 7 (ours).
"""

import numpy as np

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import Merged
from zorba_ray.allocation.problem import Objective


def counting_bound(problem: Merged, objective: Objective) -> float:
    """A number (f1, bytes, share or seconds) below which no valid allocation can be. Needs enough able clients."""
    if objective == "convergence":
        return f1_bound(problem)
    if objective == "time":
        return _time_bound(problem)
    must = objectives.active_bytes_of(problem.required, problem)  # per member
    open_bytes = np.where(problem.forbidden, np.iinfo(np.int64).max, problem.active_bytes)
    cheapest = np.maximum(must, np.where(problem.forbidden.all(axis=1), 0, open_bytes.min(axis=1)))
    if problem.vram_objective == "worst_share":
        return float(((problem.base_bytes + cheapest) / problem.budget_bytes).max())
    # Everybody holds at least its cheapest block, and every block is held by at least its `coverage` cheapest clients.
    by_client = int((problem.size * cheapest).sum())
    by_block = sum(_cheapest_cover(problem, block) for block in range(problem.blocks))
    return float(problem.total_base + max(by_client, by_block))


def _cheapest_cover(problem: Merged, block: int) -> int:
    able = np.flatnonzero(~problem.forbidden[:, block])
    able = able[np.argsort(problem.active_bytes[able, block], kind="stable")]
    taken = np.diff(np.minimum(problem.size[able].cumsum(), problem.coverage), prepend=0)
    return int((taken * problem.active_bytes[able, block]).sum())


def f1_bound(problem: Merged) -> float:
    """Every block on its own best number of holders, as if the budgets did not couple the blocks."""
    rare, shared = f1_terms(problem)
    counts = best_counts(problem, rare, shared)
    return float((rare / counts + shared * counts).sum())


def f1_terms(problem: Merged) -> tuple[np.ndarray, np.ndarray]:
    """[L] r_b and s_b of f1 = Σ_b r_b / N_b + s_b N_b, normalised."""
    scale = objectives.f1_scale(problem)
    return problem.clients * problem.block_weight / scale, problem.beta * problem.shared_cost / scale


def best_counts(problem: Merged, rare: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """[L] int64: the whole c between coverage and the able clients that minimises rare_b / c + linear_b c."""
    able = (problem.size[:, None] * ~problem.forbidden).sum(axis=0)
    high = np.maximum(able, problem.coverage)
    # Convex in c > 0: the best whole number lies next to the root of the derivative.
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.where(linear > 0, np.sqrt(rare / linear), np.inf)
    below = np.floor(np.minimum(root, high)).clip(problem.coverage, high)
    above = np.minimum(below + 1, high)
    lower = rare / below + linear * below <= rare / above + linear * above
    return np.where(lower, below, above).astype(np.int64)


def _time_bound(problem: Merged) -> float:
    """Every client with its latest possible first block and as many blocks kept from streaming as its capacity."""
    assert problem.block_seconds is not None
    after = problem.block_seconds[:, ::-1].cumsum(axis=1)[:, ::-1]  # [G, L] seconds of block b and all behind it
    latest = np.where(problem.forbidden, np.inf, after).min(axis=1)
    first_required = np.where(problem.required, after, 0.0).max(axis=1)
    seconds = problem.block_seconds.sum(axis=1) + np.maximum(np.where(np.isfinite(latest), latest, 0.0), first_required)
    if problem.stream_seconds is not None:
        dearest = -np.sort(-problem.stream_seconds, axis=1)
        kept = np.where(np.arange(problem.blocks) < problem.capacity[:, None], dearest, 0.0).sum(axis=1)
        seconds = seconds + problem.stream_seconds.sum(axis=1) - kept
    return float(seconds.max() if problem.time_objective == "slowest" else seconds.sum())
