"""What allocation.json says beside the deal itself: proven bounds, the heuristic's answer, the exact variance."""

from typing import Any

import numpy as np

from zorba_ray.allocation import Allocation, AllocationProblem, objectives, smallest_budgets
from zorba_ray.allocation.comparators import greedy_beside
from zorba_ray.allocation.front import Front, proven
from zorba_ray.experiment.build import Setup
from zorba_ray.zo import BlockEnergies

WEIGHTINGS: tuple[objectives.Weighting, ...] = ("data", "inverse_noise")


def exact_variances(
    setup: Setup, problem: AllocationProblem, active: np.ndarray, energies: BlockEnergies | None
) -> dict[str, float]:
    """Weighting -> the exact variance of one round's update that f1 stands for (algorithm.md section 5).

    Args:
        active: bool [N, L], of the clients of `problem`.
        energies: of a probe; a client's own gradient in block c then has the energy g_c² + ζ_c² (1 − Σ p_n²) in the
            mean. None: equal in all blocks, in all 1.
    """
    if energies is None:
        each = np.full(problem.blocks, 1.0 / problem.blocks)
    else:
        spread = energies.dissimilarity * (1.0 - float((problem.data_weight**2).sum()))
        each = energies.energy + spread + energies.noise
    sizes = np.array(setup.model.replica.manifest.sizes(setup.config.zo.fixed_scope), dtype=np.int64)
    directions = setup.config.zo.directions
    return {
        weighting: objectives.exact_variance(active, problem, weighting, sizes, directions, each)
        for weighting in WEIGHTINGS
    }


def allocation_facts(
    setup: Setup, allocation: Allocation, problem: AllocationProblem, energies: BlockEnergies | None
) -> dict[str, Any]:
    """JSON-ready: `objectives`, `greedy` (None where there is none) and `exact_variance`.

    Args:
        allocation: of the clients of `problem`.
        energies: as in `exact_variances`.
    """

    def variance(active: np.ndarray) -> dict[str, float]:
        return exact_variances(setup, problem, active, energies)

    known = proven(problem, allocation)
    beside = greedy_beside(problem, allocation)
    heuristic = None if beside is None else beside.matrix
    return {
        "objectives": [entry.to_dict() for entry in known],
        "greedy": None
        if heuristic is None
        else {
            "objectives": {own.objective: objectives.value(own.objective, heuristic, problem) for own in known},
            "blocks_mean": float(heuristic.sum(axis=1).mean()),
            "exact_variance": variance(heuristic),
        },
        "exact_variance": {
            **variance(allocation.active.matrix),
            "all_active": variance(np.ones_like(allocation.active.matrix)),
            "energies": "uniform" if energies is None else "measured",
        },
    }


def front_record(
    setup: Setup, problem: AllocationProblem, front: Front, energies: BlockEnergies | None
) -> dict[str, Any]:
    """front.json: the points with bounds, gaps and the exact variance of each."""
    record = front.to_dict()
    for entry, point in zip(record["points"], front.points, strict=True):
        entry["exact_variance"] = exact_variances(setup, problem, point.allocation.active.matrix, energies)
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
