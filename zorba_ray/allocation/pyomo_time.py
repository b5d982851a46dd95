"""The round time in the allocation's program: rows that a step needs only where seconds are minimised or capped.

    started[r,b]  start[r,b], stays_started[r,b]: started ≥ y[r,b] and ≥ started[r,b−1], so 1 from the first active on
    seconds[r]    Σ_b t_b (1 + started[r,b]) + stream_b (1 − y[r,b]), an expression
    slowest       wait[r]: slowest ≥ seconds[r];  time_cap[r]

Rows stand for one client each. Source: f3 of algorithm.md section 7 (ours).
"""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from zorba_ray.allocation import objectives
from zorba_ray.allocation.classes import Merged

# Units of the slowest client's time with everything active: the solver's absolute tolerances mean little.
SECONDS_SCALE = 1000.0


def add_seconds(model: Any, problem: Merged) -> float:
    """Adds variables and rows; returns how many seconds one unit of `seconds` is."""
    everything = objectives.client_seconds(np.ones(problem.active_bytes.shape, dtype=bool), problem)
    streamed = 0.0 if problem.stream_seconds is None else float(problem.stream_seconds.sum(axis=1).max())
    second = (float(everything.max()) + streamed) / SECONDS_SCALE or 1.0
    # Not whole by declaration: between whole y the smallest value that keeps the rows is 0 or 1.
    model.started = pyo.Var(model.R, model.B, bounds=(0, 1))
    model.start = pyo.Constraint(model.R, model.B, rule=lambda m, r, b: m.started[r, b] >= m.y[r, b])

    def stays(m: Any, r: int, b: int) -> Any:
        return m.started[r, b] >= m.started[r, b - 1] if b > 0 else pyo.Constraint.Skip

    model.stays_started = pyo.Constraint(model.R, model.B, rule=stays)
    assert problem.block_seconds is not None, "the problem refuses an order with time and no seconds"
    compute = problem.block_seconds / second
    stream = np.zeros_like(compute) if problem.stream_seconds is None else problem.stream_seconds / second

    def seconds(m: Any, r: int) -> Any:
        return sum(float(compute[r, b]) * (1 + m.started[r, b]) + float(stream[r, b]) * (1 - m.y[r, b]) for b in m.B)

    model.seconds = pyo.Expression(model.R, rule=seconds)
    return second


def goal(model: Any, problem: Merged) -> Any:
    """What to minimise for f3, in units."""
    if problem.time_objective == "sum":
        return sum(model.seconds[r] for r in model.R)
    model.slowest = pyo.Var(domain=pyo.NonNegativeReals)
    model.wait = pyo.Constraint(model.R, rule=lambda m, r: m.slowest >= m.seconds[r])
    return model.slowest


def set_cap(model: Any, problem: Merged, limit: float) -> None:
    """Fills `time_cap` with f3 ≤ `limit`, in units."""
    if problem.time_objective == "sum":
        model.time_cap[0] = sum(model.seconds[r] for r in model.R) <= limit
        return
    for r in model.R:
        model.time_cap[r] = model.seconds[r] <= limit
