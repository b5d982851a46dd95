"""The allocation problem: checked numbers that cannot be changed.

Shapes: N clients, L blocks. Memory is in bytes (int64), times are in seconds, weights are float64 without a unit.
Source: docs/algorithm.md sections 5 to 7; the memory model, the bound behind f1 and the constraints are ours.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from zorba_ray.errors import ConfigError

Objective = Literal["convergence", "vram", "time"]
VramObjective = Literal["total_bytes", "worst_share"]

# Sums of bytes stay below this, so that int64 never wraps.
MOST_BYTES = 2**62


@dataclass(frozen=True, eq=False)
class AllocationProblem:
    """Which client may activate which blocks, with which budgets, and what is minimised.

    By default clients are numbered, all blocks have the same weight, and every client draws its own directions. A
    number in place of an array stands for an array of that number. An [N, L] array that is a broadcast of one row
    (np.broadcast_to) is kept as one row.

    Raises:
        ConfigError: a wrong argument; names the setting, the value and the rule.
    """

    base_bytes: np.ndarray
    """[N] int64 > 0: bytes of client n with no active block (weights, scratch, stream buffers, activations)."""
    active_bytes: np.ndarray
    """[N, L] int64 >= 0: extra bytes on client n when block b is active there."""
    budget_bytes: np.ndarray
    """[N] int64 > 0: V_n, the bytes that client n may use on its accelerator."""
    client_names: tuple[str, ...] = ()
    """N names for messages, such as "client 3 (class small)"."""
    block_weight: np.ndarray = field(default_factory=lambda: np.ones(()))
    """[L] float64 > 0: ω_b, how much convergence suffers if few clients activate block b."""
    shared_cost: np.ndarray = field(default_factory=lambda: np.zeros(()))
    """[L] float64 >= 0: γ_b, the cost of one more client with block b if all clients share one seed."""
    beta: float = 0.0
    """β >= 0: weight of the shared-seed term; 0 for per-client seeds."""
    epsilon: float = 0.0
    """ε in [0, 1] of the ε-constraint: 0 keeps the first objective of `order` at its best, 1 allows its nadir."""
    coverage: int = 1
    """Every block is active on at least this many clients (1 to N)."""
    max_blocks: int | np.ndarray | None = None
    """At most this many active blocks per client, for all or [N]; None sets no limit."""
    vram_objective: VramObjective = "total_bytes"
    """f2: the bytes of all clients together, or the largest share of a budget that any client uses."""
    order: tuple[Objective, ...] = ("convergence", "vram")
    """The lexicographic order: two or three different objectives."""
    min_blocks: int | np.ndarray = 1
    """At least this many active blocks per client, for all or [N]; >= 1."""
    must_hold: np.ndarray | None = None
    """[N, L] bool: entries that are 1 in every allocation; None for none."""
    must_not_hold: np.ndarray | None = None
    """[N, L] bool: entries that are 0 in every allocation; None for none."""
    block_seconds: np.ndarray | None = None
    """[N, L] float64 >= 0: t_{n,b}, seconds of one forward of block b on client n, one sign. Needed for "time"."""
    stream_seconds: np.ndarray | None = None
    """[N, L] float64 >= 0: seconds to copy block b to client n if it is frozen there (once for both signs). An active
    block stays on the accelerator. None for 0. It is added to the compute time, so the sum is an upper bound where
    copying and computing overlap."""

    def __post_init__(self) -> None:
        if np.ndim(self.active_bytes) != 2 or not np.size(self.active_bytes):
            shape = np.shape(self.active_bytes)
            raise ConfigError(f"allocation: active_bytes has shape {shape}; it must be [N, L], at least 1 x 1")
        clients, blocks = np.shape(self.active_bytes)
        names = tuple(self.client_names) or tuple(f"client {n}" for n in range(clients))
        if len(names) != clients or not all(isinstance(name, str) and name for name in names):
            raise ConfigError(f"allocation: client_names = {names!r} must be {clients} non-empty strings")
        # The checked copies replace the arguments, and are read-only.
        fixed: dict[str, Any] = {"client_names": names, "order": self._checked_order()}
        for name, (shape, dtype, rule) in _ARRAYS.items():
            argument = getattr(self, name)
            if argument is not None:
                fixed[name] = _array(name, argument, tuple({"N": clients, "L": blocks}[axis] for axis in shape), dtype)
                _require_least(name, fixed[name], rule)
        fixed["min_blocks"] = _count("min_blocks", self.min_blocks, clients)
        fixed["max_blocks"] = None if self.max_blocks is None else _count("max_blocks", self.max_blocks, clients)
        for name, high in (("beta", float("inf")), ("epsilon", 1.0)):
            fixed[name] = _number(name, getattr(self, name), high)
        if not _is_whole(self.coverage) or not 1 <= self.coverage <= clients:
            raise ConfigError(
                f"allocation: coverage = {self.coverage!r} must be a whole number from 1 to the number of clients, "
                f"{clients}: a block cannot be active on more clients than there are"
            )
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        self._require_sums()
        self._require_no_contradiction()

    def _checked_order(self) -> tuple[Objective, ...]:
        if self.vram_objective not in (choices := get_args(VramObjective)):
            raise ConfigError(f"allocation: vram_objective = {self.vram_objective!r} must be one of {choices}")
        order = tuple(self.order)
        if len(order) not in (2, 3) or len(set(order)) < len(order) or not set(order) <= set(get_args(Objective)):
            raise ConfigError(
                f"allocation: order = {self.order!r} must name two or three of 'convergence', 'vram' and 'time', "
                "each once"
            )
        if "time" in order and self.block_seconds is None:
            raise ConfigError(f"allocation: order = {order!r} names 'time', which needs block_seconds [N, L]")
        return order

    def _require_sums(self) -> None:
        most = self.clients * (int(self.base_bytes.max()) + self.blocks * int(self.active_bytes.max()))
        if most >= MOST_BYTES:
            raise ConfigError(f"allocation: the fleet could hold {most:,} bytes; at most 2**62 - 1 can be counted")
        scale = float(self.block_weight.sum()) + self.clients * self.beta * float(self.shared_cost.sum())
        if not scale < float("inf"):
            raise ConfigError(
                f"allocation: Σ block_weight + N · beta · Σ shared_cost, by which f1 is divided, overflows (beta = "
                f"{self.beta!r}, largest block_weight {self.block_weight.max():.3g}, N = {self.clients}); choose "
                "smaller values"
            )

    def _require_no_contradiction(self) -> None:
        low, high = self.least_blocks, self.most_blocks
        for client in np.flatnonzero(low > high)[:1].tolist():
            raise ConfigError(
                f"allocation: {self.client_names[client]} must hold at least {low[client]} blocks (min_blocks) and at "
                f"most {high[client]} (max_blocks, or the {self.blocks} blocks of the model)"
            )
        if self.must_hold is not None and self.must_not_hold is not None:
            for client, block in np.argwhere(self.must_hold & self.must_not_hold)[:1].tolist():
                raise ConfigError(
                    f"allocation: {self.client_names[client]} must hold block {block} (must_hold: allocation.rules) "
                    "and must not hold it (must_not_hold: allocation.rules); drop one of the two"
                )

    @property
    def clients(self) -> int:
        """N."""
        return len(self.client_names)

    @property
    def blocks(self) -> int:
        """L."""
        return len(self.block_weight)

    @property
    def slack_bytes(self) -> np.ndarray:
        """[N] int64: budget minus base, the bytes for active blocks; negative if even the base does not fit."""
        return self.budget_bytes - self.base_bytes

    @property
    def least_blocks(self) -> np.ndarray:
        """[N] int64: the smallest number of blocks of each client."""
        return np.broadcast_to(np.asarray(self.min_blocks, dtype=np.int64), (self.clients,))

    @property
    def most_blocks(self) -> np.ndarray:
        """[N] int64: the largest number of blocks of each client, by `max_blocks` and L (not by its budget)."""
        most = self.blocks if self.max_blocks is None else np.minimum(self.max_blocks, self.blocks)
        return np.broadcast_to(np.asarray(most, dtype=np.int64), (self.clients,))

    @property
    def has_rules(self) -> bool:
        """Whether some entries are prescribed."""
        return self.must_hold is not None or self.must_not_hold is not None

    @property
    def required(self) -> np.ndarray:
        """[N, L] bool: `must_hold`; all False if it is None."""
        return self._flags(self.must_hold)

    @property
    def forbidden(self) -> np.ndarray:
        """[N, L] bool: `must_not_hold`; all False if it is None."""
        return self._flags(self.must_not_hold)

    def _flags(self, entries: np.ndarray | None) -> np.ndarray:
        return np.broadcast_to(np.False_, (self.clients, self.blocks)) if entries is None else entries


# Name -> (shape in N and L, dtype, rule of every entry).
_ARRAYS: dict[str, tuple[str, type, str]] = {
    "base_bytes": ("N", np.int64, "> 0"),
    "active_bytes": ("NL", np.int64, ">= 0"),
    "budget_bytes": ("N", np.int64, "> 0"),
    "block_weight": ("L", np.float64, "> 0"),
    "shared_cost": ("L", np.float64, ">= 0"),
    "block_seconds": ("NL", np.float64, ">= 0"),
    "stream_seconds": ("NL", np.float64, ">= 0"),
    "must_hold": ("NL", np.bool_, ">= 0"),
    "must_not_hold": ("NL", np.bool_, ">= 0"),
}


def _array(name: str, argument: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A read-only copy of `argument` at `dtype`. Checks that it has the shape, is finite, and is whole for int64.

    A broadcast of one row stays a broadcast: a million equal clients take the memory of one.
    """
    try:
        values = np.asarray(argument)
        # Integers must not pass through float64: bytes above 2**53 would change.
        values = values if values.dtype.kind in "iub" else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"allocation: {name} = {argument!r} is not an array of numbers") from error
    if values.ndim == 0:
        values = np.broadcast_to(values, shape)
    if values.shape != shape:
        raise ConfigError(f"allocation: {name} has shape {values.shape}; it must have shape {shape}")
    if values.ndim == 2 and values.strides[0] == 0 and shape[0] > 1:
        return np.broadcast_to(_array(name, values[:1], (1, *shape[1:]), dtype), shape)
    if not np.isfinite(values).all():
        raise ConfigError(f"allocation: {name}{_first(~np.isfinite(values))} is not finite; every entry must be")
    if dtype is np.bool_ and values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise ConfigError(f"allocation: {name} must hold truth values, not {values.dtype}")
    if dtype is np.int64 and values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise ConfigError(f"allocation: {name}{_first(values != np.floor(values))} is not a whole number")
    fixed = values.astype(dtype, copy=True)
    fixed.setflags(write=False)
    return fixed


def _require_least(name: str, array: np.ndarray, rule: str) -> None:
    rows = array[:1] if array.ndim == 2 and array.strides[0] == 0 else array
    bad = rows <= 0 if rule == "> 0" else rows < 0
    if bad.any():
        raise ConfigError(f"allocation: {name}{_first(bad)} = {rows[bad][0]!s} must be {rule}")


def _first(where: np.ndarray) -> str:
    """The first True position as "[i]" or "[i, j]"."""
    return str([int(index) for index in np.argwhere(where)[0]])


def _number(name: str, value: Any, high: float) -> float:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not np.isfinite(value) or not 0 <= value <= high:
        raise ConfigError(f"allocation: {name} = {value!r} must be a finite number in [0, {high:g}]")
    return float(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _count(name: str, value: Any, clients: int) -> int | np.ndarray:
    """A number of blocks >= 1 for all clients, or [N] of them."""
    if np.ndim(value) == 0:
        if not _is_whole(value) or value < 1:
            raise ConfigError(f"allocation: {name} = {value!r} must be a whole number >= 1 (max_blocks may be null)")
        return int(value)
    counts = _array(name, value, (clients,), np.int64)
    _require_least(name, counts, "> 0")
    return counts
