"""The allocation problem and its answer: numbers only, frozen, validated.

Shapes: N clients, L blocks. All memory is in bytes (int64), all weights are float64 without a unit.
Source: algorithm.md sections 5 to 7; the memory model, the bound behind f1 and the constraints are this project's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from zorba_ray.errors import ConfigError

Objective = Literal["convergence", "vram"]
VramObjective = Literal["total_bytes", "worst_share"]
StepStatus = Literal["optimal", "time_limit", "greedy"]


@dataclass(frozen=True, eq=False)
class AllocationProblem:
    """Which client may activate which blocks, under which budgets, and what is to be minimised.

    Raises ConfigError from the constructor, naming the setting, the value and the rule.
    """

    base_bytes: np.ndarray
    """[N] int64 > 0: what client n holds with no block active (weights, scratch, stream buffers, activations)."""
    active_bytes: np.ndarray
    """[N, L] int64 >= 0: extra bytes on client n when block b is active there."""
    budget_bytes: np.ndarray
    """[N] int64 > 0: what client n may use on its accelerator (V_n)."""
    client_names: tuple[str, ...]
    """N names for messages, such as "client 3 (class small)"."""
    block_weight: np.ndarray
    """[L] float64 > 0: ω_b, how much block b loses by being seen by few clients."""
    shared_cost: np.ndarray
    """[L] float64 >= 0: γ_b, what one more holder of block b costs when all clients share one seed."""
    beta: float
    """β >= 0: weight of the shared-seed term; 0 for per-client seeds."""
    epsilon: float
    """ε in [0, 1] of the ε-constraint: 0 keeps the first objective of `order` at its best, 1 allows its nadir."""
    coverage: int = 1
    """Every block is active on at least this many clients (1 to N)."""
    max_blocks: int | None = None
    """At most this many active blocks per client; None sets no limit."""
    vram_objective: VramObjective = "total_bytes"
    """f2: the bytes of all clients together, or the largest share of a budget that any client uses."""
    order: tuple[Objective, Objective] = ("convergence", "vram")
    """The lexicographic order: first objective, second objective."""
    data_weight: np.ndarray = field(kw_only=True)
    """[N] float64 >= 0, sums to 1: p_n, used for the reported exact variance only."""

    def __post_init__(self) -> None:
        names = tuple(self.client_names)
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ConfigError(f"allocation: client_names = {self.client_names!r} must be N >= 1 non-empty strings")
        clients = len(names)
        weight = _array("block_weight", self.block_weight, (None,), np.float64)
        blocks = len(weight)
        if blocks < 1:
            raise ConfigError("allocation: block_weight is empty; a model needs at least 1 block")
        arrays = {
            "base_bytes": _array("base_bytes", self.base_bytes, (clients,), np.int64),
            "active_bytes": _array("active_bytes", self.active_bytes, (clients, blocks), np.int64),
            "budget_bytes": _array("budget_bytes", self.budget_bytes, (clients,), np.int64),
            "block_weight": weight,
            "shared_cost": _array("shared_cost", self.shared_cost, (blocks,), np.float64),
            "data_weight": _array("data_weight", self.data_weight, (clients,), np.float64),
        }
        for name in ("base_bytes", "budget_bytes", "block_weight"):
            _require_least(name, arrays[name], 0, strict=True)
        for name in ("active_bytes", "shared_cost", "data_weight"):
            _require_least(name, arrays[name], 0, strict=False)
        if abs(float(arrays["data_weight"].sum()) - 1.0) > 1e-6:
            raise ConfigError(f"allocation: data_weight sums to {arrays['data_weight'].sum()!r}; it must sum to 1")
        _require_number("beta", self.beta, low=0.0, high=float("inf"))
        _require_number("epsilon", self.epsilon, low=0.0, high=1.0)
        if not _is_int(self.coverage) or not 1 <= self.coverage <= clients:
            raise ConfigError(
                f"allocation: coverage = {self.coverage!r} must be a whole number from 1 to the number of clients, "
                f"{clients}: a block cannot be active on more clients than there are"
            )
        if self.max_blocks is not None and (not _is_int(self.max_blocks) or self.max_blocks < 1):
            raise ConfigError(f"allocation: max_blocks = {self.max_blocks!r} must be a whole number >= 1, or null")
        if self.vram_objective not in get_args(VramObjective):
            raise ConfigError(
                f"allocation: vram_objective = {self.vram_objective!r} must be one of {get_args(VramObjective)}"
            )
        order = tuple(self.order)
        if order not in (("convergence", "vram"), ("vram", "convergence")):
            raise ConfigError(f"allocation: order = {self.order!r} must name 'convergence' and 'vram' once each")
        # Frozen: the checked copies replace what was passed, and nobody can write to them afterwards.
        fixed: dict[str, Any] = {**arrays, "client_names": names, "order": order}
        fixed["beta"], fixed["epsilon"] = float(self.beta), float(self.epsilon)
        for name, value in fixed.items():
            object.__setattr__(self, name, value)

    @property
    def clients(self) -> int:
        """N."""
        return len(self.client_names)

    @property
    def blocks(self) -> int:
        """L."""
        return len(self.block_weight)

    @property
    def room_bytes(self) -> np.ndarray:
        """[N] int64: budget less base, what is left for active blocks; negative where even the base does not fit."""
        return self.budget_bytes - self.base_bytes

    @property
    def block_limit(self) -> int:
        """The most blocks any client may hold, by `max_blocks` and L alone."""
        return self.blocks if self.max_blocks is None else min(self.max_blocks, self.blocks)


@dataclass(frozen=True)
class StepResult:
    """One minimisation of the algorithm, with what was proven about it."""

    name: str
    """Which step of algorithm.md section 7: best_<first>, best_<second>, nadir_<first>, constrained_<second>,
    polished_<first>."""
    objective: Objective
    """What was minimised."""
    constraint: str
    """The bound on the other objective, as text; "none" when there was none."""
    value: float
    """The objective at the point kept, evaluated from the matrix: f1 (normalised), bytes, or a share of a budget."""
    bound: float
    """Proven lower bound of the objective, in the same unit."""
    gap: float
    """(value − bound) / value, never negative."""
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
            scalars = {name: data[name] for name in ("f1", "f2_bytes", "worst_share", "gap", "solver")}
        except (KeyError, TypeError) as error:
            raise ConfigError(f"allocation: this is not a stored allocation ({error!r})") from error
        return cls(active=active, steps=steps, **scalars)


def _array(name: str, value: Any, shape: tuple[int | None, ...], dtype: type) -> np.ndarray:
    """A read-only copy of `value` at `dtype`, after its shape, its finiteness and its whole numbers were checked."""
    try:
        given = np.asarray(value)
        # Integers must not pass through float64: bytes above 2**53 would change.
        whole = given.dtype.kind in "iu"
        array = given if whole and dtype is np.int64 else given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"allocation: {name} = {value!r} is not an array of numbers") from error
    wanted = tuple(array.shape[axis] if want is None and axis < array.ndim else want for axis, want in enumerate(shape))
    if array.shape != wanted:
        expected = tuple("any" if want is None else want for want in shape)
        raise ConfigError(f"allocation: {name} has shape {array.shape}; it must have shape {expected}")
    if not np.isfinite(array).all():
        raise ConfigError(f"allocation: {name}{_first(~np.isfinite(array))} is not finite; every entry must be")
    if dtype is np.int64 and not whole and (array != np.floor(array)).any():
        raise ConfigError(f"allocation: {name}{_first(array != np.floor(array))} is not a whole number of bytes")
    fixed = array.astype(dtype, copy=True)
    fixed.setflags(write=False)
    return fixed


def _first(where: np.ndarray) -> str:
    """The first True position as "[i]" or "[i, j]"."""
    return str([int(index) for index in np.argwhere(where)[0]])


def _require_least(name: str, array: np.ndarray, low: int, strict: bool) -> None:
    bad = array <= low if strict else array < low
    if bad.any():
        rule = f"> {low}" if strict else f">= {low}"
        raise ConfigError(f"allocation: {name}{_first(bad)} = {array[bad][0]!s} must be {rule}")


def _require_number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not np.isfinite(value) or not low <= value <= high:
        raise ConfigError(f"allocation: {name} = {value!r} must be a finite number in [{low:g}, {high:g}]")


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
