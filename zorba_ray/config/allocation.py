"""Settings of the allocation, which decides which client activates which blocks (algorithm.md §7)."""

from typing import Literal

from pydantic import Field, model_validator

from zorba_ray.config.base import StrictModel


class ClientRule(StrictModel):
    """Bounds for the clients of one class (`kind`), or for single clients (`clients`); without either, for all."""

    kind: str | None = None
    """Name of a class in federation.fleet."""
    clients: tuple[int, ...] | None = None
    """Client ids, from 0."""
    min_blocks: int | None = Field(default=None, ge=1)
    """Least number of active blocks of each of these clients; None is 1."""
    max_blocks: int | None = Field(default=None, ge=1)
    """Largest number of active blocks of each of these clients; None is allocation.max_blocks."""
    require: tuple[int, ...] = ()
    """Blocks that each must activate, numbered from 0."""
    forbid: tuple[int, ...] = ()
    """Blocks that none may activate, numbered from 0."""
    speed: float | None = Field(default=None, gt=0)
    """Speed of these clients, as a multiple of memory.flops_per_s and memory.host_bytes_per_s; 0.5 is half as fast."""

    @model_validator(mode="after")
    def _kind_or_clients(self) -> "ClientRule":
        if self.kind is not None and self.clients is not None:
            raise ValueError(
                f"kind ({self.kind}) and clients ({list(self.clients)}) are both set: a rule is for a class or for "
                "clients by id; drop one"
            )
        if self.clients is not None and (not self.clients or min(self.clients) < 0):
            raise ValueError(f"clients {list(self.clients)} must be one or more ids, numbered from 0")
        return self


class AllocationConfig(StrictModel):
    """Objectives, constraints and solver limits."""

    epsilon: float = Field(default=0.0, ge=0, le=1)
    """ε, how much convergence (f1) may be given up for less memory: 0 is none, 1 is as much as the smallest memory
    needs."""
    algorithm: Literal["lexicographic", "greedy", "random", "last"] = "lexicographic"
    """`lexicographic`: the program of the paper, solved with a proof. The others are for comparison; they fill the same
    budgets without a proof. `greedy` adds the block that lowers f1 most per byte. `random` takes blocks in random
    order. `last` takes the last blocks that fit; a block that no client then holds is never trained."""
    block_weights: Literal["uniform", "params", "probe"] = "uniform"
    """ω_b: `uniform`: all equal. `params`: the block's number of parameters in scope. `probe`: from a probe of the
    clients' gradients."""
    probe_pairs: int = Field(default=16, ge=2)
    """Forward pairs of a probe per client, block and batch; a probe takes two batches."""
    probe_every: int | None = Field(default=None, ge=1)
    """Rounds after which the blocks are probed and assigned again; None probes once, before round 1."""
    every: int | None = Field(default=None, ge=1)
    """Rounds after which the blocks are assigned to other clients, at equal bytes and equal f1, so that in time each
    block is trained on every client's data. None keeps an assignment until the fleet changes."""
    coverage: int = Field(default=1, ge=1)
    """Every block is active on at least this many clients (2f + 1 for f Byzantine clients)."""
    max_blocks: int | None = Field(default=None, ge=1)
    """At most this many active blocks per client; None is no bound."""
    rules: tuple[ClientRule, ...] = ()
    """Bounds for single clients or classes. If two entries set the same bound of a client, the later one wins."""
    vram: Literal["total_bytes", "worst_share"] = "total_bytes"
    """f2, the memory that is minimised: `total_bytes`: the bytes of all clients. `worst_share`: the largest share of a
    budget that any client uses."""
    order: tuple[Literal["convergence", "vram", "time"], ...] = Field(
        default=("convergence", "vram"), min_length=2, max_length=3
    )
    """Two or three objectives, the most important first. `time` is the time of the slowest client, for which a round
    waits; with it, equal clients are not merged, so the solver is slower."""
    time_limit_s: float = Field(default=30.0, gt=0)
    """Seconds for all steps of the solver together."""
    gap: float = Field(default=1e-3, ge=0, lt=1)
    """A step counts as solved when (value − bound) / value is at most this. For f2, the denominator counts only what an
    allocation can change: the bytes, or the largest share, above what the clients need without active blocks."""

    @model_validator(mode="after")
    def _probe_and_comparators(self) -> "AllocationConfig":
        if self.probe_every is not None and self.block_weights != "probe":
            raise ValueError(
                f"probe_every={self.probe_every} with block_weights={self.block_weights}: only block_weights=probe "
                "probes; set it, or drop probe_every"
            )
        if self.block_weights == "probe" and self.algorithm in ("random", "last"):
            raise ValueError(
                f"block_weights=probe with algorithm={self.algorithm}: this algorithm does not use the weights of "
                "blocks, so a probe would cost forward passes and change nothing; set block_weights=uniform or params, "
                "or another algorithm"
            )
        if self.algorithm != "lexicographic" and self.epsilon > 0:
            raise ValueError(
                f"epsilon={self.epsilon:g} with algorithm={self.algorithm}: only algorithm=lexicographic uses ε; set "
                "epsilon=0, or algorithm=lexicographic"
            )
        if self.algorithm == "last" and self.every is not None:
            raise ValueError(
                f"every={self.every} with algorithm=last: other assignments would not be the last blocks; drop one"
            )
        return self
