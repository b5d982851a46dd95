"""What allocation.json says beside the deal itself: proven bounds, the heuristic's answer, the exact variance."""

from typing import Any

import numpy as np

from zorba_ray.allocation import Allocation, AllocationProblem, objectives, smallest_budgets
from zorba_ray.allocation.compare import greedy_beside
from zorba_ray.allocation.front import Front, proven
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.fleet import allocation_problem

WEIGHTINGS: tuple[objectives.Weighting, ...] = ("data", "inverse_noise")


def problem_of(setup: Setup) -> AllocationProblem:
    """The allocation problem of a run.

    Raises:
        ConfigError: as `allocation_problem`.
    """
    return allocation_problem(setup.config, setup.fleet, setup.memory, setup.model.replica.manifest, setup.samples)


def scoped_sizes(setup: Setup) -> np.ndarray:
    """int64 [L]: d_b, the parameters in scope of every block."""
    manifest, scope = setup.model.replica.manifest, setup.config.zo.scope
    return np.array([sum(t.numel for t in manifest.scoped(b, scope)) for b in range(manifest.blocks)], dtype=np.int64)


def exact_variances(
    problem: AllocationProblem,
    active: np.ndarray,
    block_sizes: np.ndarray,
    directions: int,
    energies: np.ndarray | None = None,
) -> dict[str, float]:
    """Weighting -> the exact variance of one round's update that f1 stands for (algorithm.md section 5).

    Args:
        active: bool [N, L].
        block_sizes: int [L], d_b.
        directions: P.
        energies: float [L], e_c = g_c² + σ_c² of every block; None: equal, in all 1.
    """
    shares = np.full(problem.blocks, 1.0 / problem.blocks) if energies is None else energies
    return {
        weighting: objectives.exact_variance(active, problem, weighting, block_sizes, directions, shares)
        for weighting in WEIGHTINGS
    }


def allocation_facts(
    problem: AllocationProblem,
    allocation: Allocation,
    block_sizes: np.ndarray,
    directions: int,
    energies: np.ndarray | None = None,
) -> dict[str, Any]:
    """JSON-ready: `objectives`, `greedy` (None where there is none) and `exact_variance`.

    Args:
        block_sizes: int [L], d_b: parameters in scope.
        directions: P.
        energies: as in `exact_variances`.
    """

    def variance(active: np.ndarray) -> dict[str, float]:
        return exact_variances(problem, active, block_sizes, directions, energies)

    heuristic = greedy_beside(problem, allocation)
    return {
        "objectives": [_finite(vars(entry)) for entry in proven(problem, allocation)],
        "greedy": None
        if heuristic is None
        else {
            "objectives": {entry: objectives.value(entry, heuristic, problem) for entry in problem.order},
            "blocks_mean": float(heuristic.sum(axis=1).mean()),
            "exact_variance": variance(heuristic),
        },
        "exact_variance": {
            **variance(allocation.active),
            "all_active": variance(np.ones_like(allocation.active)),
            "energies": "uniform" if energies is None else "measured",
        },
    }


def front_record(setup: Setup, problem: AllocationProblem, front: Front) -> dict[str, Any]:
    """front.json: the points with bounds, gaps and the exact variance of each."""
    record = front.to_dict()
    sizes, directions = scoped_sizes(setup), setup.config.zo.directions
    for entry, point in zip(record["points"], front.points, strict=True):
        entry["exact_variance"] = exact_variances(problem, point.allocation.active, sizes, directions)
    return record


def what_if_record(problem: AllocationProblem) -> dict[str, Any]:
    """what_if.json: the budgets that must rise, and the factor on all of them that would do instead.

    Raises:
        AllocationInfeasible: no budget would do.
    """
    found = smallest_budgets(problem)
    clients = [
        {"client": n, "name": problem.client_names[n], "budget_bytes": int(own), "needed_bytes": int(needed)}
        for n, (own, needed) in enumerate(zip(problem.budget_bytes, found.budget_bytes, strict=True))
        if needed > own
    ]
    return {
        "feasible": found.feasible,
        "missing_bytes": found.missing_bytes,
        "factor": found.factor,
        "proven": found.proven,
        "clients": clients,
    }


def _finite(entry: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: None, as where a block is on no client."""
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in entry.items()}
