"""What the algorithm hands out: the matrix, its steps with their bounds, and its JSON form.

Source: algorithm.md section 7 (ours).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zorba_ray.allocation.problem import Objective
from zorba_ray.errors import ConfigError

StepStatus = Literal["optimal", "time_limit", "greedy"]


@dataclass(frozen=True)
class StepResult:
    """One minimisation of the algorithm, with what was proven about it."""

    name: str
    """Which step of algorithm.md section 7: best_X, nadir_X, constrained_X or polished_X of an objective X."""
    objective: Objective
    """What was minimised."""
    constraint: str
    """The bounds on the other objectives, as text; "none" when there was none."""
    value: float
    """The objective at the point kept, evaluated from the matrix: f1 (normalised), bytes, a share of a budget, or
    seconds."""
    bound: float
    """Proven lower bound of the objective, in the same unit."""
    gap: float
    """(value − bound) / value, never negative; of "vram", the denominator is the value less what the bases take without
    any active block (`objectives.relative_gap`)."""
    seconds: float
    """Wall time of the step."""
    status: StepStatus
    """optimal: proven within the gap asked for. time_limit: the solver stopped earlier. greedy: the solver gave no
    point in time and the heuristic's was kept."""


@dataclass(frozen=True, eq=False)
class Allocation:
    """The blocks each client activates, what they cost, and how far from optimal they can be."""

    active: np.ndarray
    """[N, L] bool: a_{n,b}."""
    steps: tuple[StepResult, ...]
    """The minimisations in the order in which they were done."""
    f1: float
    """Convergence surrogate, 1 for "everybody active"; smaller is faster."""
    f2_bytes: int
    """Bytes of all clients together."""
    worst_share: float
    """The largest share of its budget that a client uses, 0 to 1."""
    gap: float
    """The largest gap over the steps."""
    solver: str
    """Such as "highs 1.15.1 via pyomo 6.10.1"; "greedy" when the time limit gave no feasible point."""
    f3_seconds: float | None = None
    """Seconds of a round, of the slowest client or of all together; None where the problem has no times."""

    def __post_init__(self) -> None:
        active = np.array(self.active, dtype=bool)
        active.setflags(write=False)
        object.__setattr__(self, "active", active)

    def blocks_of(self, client: int) -> tuple[int, ...]:
        """The active blocks of one client, ascending."""
        return tuple(int(block) for block in np.flatnonzero(self.active[client]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the matrix is written as one list of block numbers per client."""
        return {
            "blocks": self.active.shape[1],
            "active": [list(self.blocks_of(client)) for client in range(len(self.active))],
            "steps": [vars(step).copy() for step in self.steps],
            "f1": self.f1,
            "f2_bytes": self.f2_bytes,
            "worst_share": self.worst_share,
            "gap": self.gap,
            "solver": self.solver,
            "f3_seconds": self.f3_seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Allocation":
        """The inverse of `to_dict`. Raises ConfigError when a key is missing or a block number is out of range."""
        try:
            active = np.zeros((len(data["active"]), data["blocks"]), dtype=bool)
            for client, held in enumerate(data["active"]):
                if any(not 0 <= block < data["blocks"] for block in held):
                    raise ConfigError(
                        f"allocation: client {client} lists blocks {held}; there are blocks 0 to {data['blocks'] - 1}"
                    )
                active[client, held] = True
            steps = tuple(StepResult(**step) for step in data["steps"])
            scalars = {name: data[name] for name in ("f1", "f2_bytes", "worst_share", "gap", "solver", "f3_seconds")}
        except (KeyError, TypeError) as error:
            raise ConfigError(f"allocation: this is not a stored allocation ({error!r})") from error
        return cls(active=active, steps=steps, **scalars)
