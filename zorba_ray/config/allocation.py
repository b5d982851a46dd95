"""Who activates which blocks: the ε-constraint lexicographic program (algorithm.md §7)."""

from typing import Literal

from pydantic import Field, model_validator

from zorba_ray.config.base import StrictModel


class ClientsOf(StrictModel):
    """Whom a rule is about: one class of the fleet by its name, or clients by their ids."""

    kind: str | None = None
    """Name of a class in federation.fleet."""
    clients: tuple[int, ...] | None = None
    """Client ids, from 0."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "ClientsOf":
        if (self.kind is None) == (self.clients is None):
            raise ValueError(f"name either kind ({self.kind}) or clients ({self.clients}), not both and not neither")
        if self.clients is not None and (not self.clients or min(self.clients) < 0):
            raise ValueError(f"clients {list(self.clients)} must be ids from 0, at least one")
        return self


class HeldBlocks(ClientsOf):
    """Blocks that some clients must, or must not, hold."""

    blocks: tuple[int, ...] = Field(min_length=1)
    """Block numbers, from 0."""


class BlockLimits(ClientsOf):
    """Bounds on the number of blocks of some clients, in place of min_blocks and max_blocks."""

    min_blocks: int | None = Field(default=None, ge=1)
    """At least this many; None keeps the general one."""
    max_blocks: int | None = Field(default=None, ge=1)
    """At most this many; None keeps the general one."""


class Speed(ClientsOf):
    """How fast some clients compute and stream."""

    times: float = Field(gt=0)
    """Multiple of flops_per_s and host_bytes_per_s; 0.5 is half as fast."""


class AllocationConfig(StrictModel):
    """Objectives, constraints and solver limits."""

    epsilon: float = Field(default=0.0, ge=0, le=1)
    """ε: share of the way from the best convergence (0) to the smallest memory (1) that may be given up."""
    algorithm: Literal["lexicographic", "greedy", "random", "last"] = "lexicographic"
    """`lexicographic` decides; the others are comparators that fill the same budgets without a proof: `greedy` adds the
    block that lowers f1 most per byte, `random` takes blocks in random order, `last` the last blocks that fit (blocks
    that then nobody holds are never trained)."""
    block_weights: Literal["uniform", "params", "probe"] = "uniform"
    """ω_b: equal, the block's parameters in scope, or what a probe of the clients' gradients finds."""
    probe_pairs: int = Field(default=16, ge=2)
    """Forward pairs of a probe per client, block and batch; a probe takes two batches."""
    probe_every: int | None = Field(default=None, ge=1)
    """Rounds after which the blocks are probed and dealt anew; None probes once, before round 1."""
    every: int | None = Field(default=None, ge=1)
    """Rounds after which the blocks are dealt anew at equal bytes and equal f1, so that each block comes to see every
    client's data; None keeps a deal until the fleet changes."""
    beta: float | None = Field(default=None, ge=0)
    """Weight of the shared-seed term; None is 0 for per_client seeds and 1 for shared."""
    coverage: int = Field(default=1, ge=1)
    """Every block is active on at least this many clients (2f+1 for f Byzantine clients)."""
    min_blocks: int = Field(default=1, ge=1)
    """At least this many active blocks per client."""
    max_blocks: int | None = Field(default=None, ge=1)
    """At most this many active blocks per client; None is no bound."""
    limits: tuple[BlockLimits, ...] = ()
    """Bounds of their own for some clients; later entries win."""
    require: tuple[HeldBlocks, ...] = ()
    """Blocks that clients must hold."""
    forbid: tuple[HeldBlocks, ...] = ()
    """Blocks that clients must not hold."""
    vram: Literal["total_bytes", "worst_share"] = "total_bytes"
    """f2: the fleet's bytes, or the largest share of a budget."""
    time: Literal["slowest", "sum"] = "slowest"
    """f3: the seconds of the slowest client, for which a round waits, or of all together."""
    flops_per_s: float = Field(default=1e13, gt=0)
    """FLOP per second of the modelled accelerator, for f3."""
    host_bytes_per_s: float = Field(default=1.2e10, gt=0)
    """Bytes per second from host to accelerator, for f3 where frozen blocks are streamed."""
    speeds: tuple[Speed, ...] = ()
    """Clients that are faster or slower than that; later entries win."""
    order: tuple[Literal["convergence", "vram", "time"], ...] = Field(
        default=("convergence", "vram"), min_length=2, max_length=3
    )
    """Lexicographic order of two or three objectives. Clients are not merged where time is one."""
    time_limit_s: float = Field(default=30.0, gt=0)
    """Seconds for all steps together."""
    gap: float = Field(default=1e-3, ge=0, lt=1)
    """Relative gap at which a step counts as solved: (value − bound) / value, where of f2 the value in the denominator
    counts without the bases, which no allocation changes: bytes above the sum of the bases, or the share above the
    largest share that a base takes."""

    @model_validator(mode="after")
    def _probe_and_comparators(self) -> "AllocationConfig":
        if self.probe_every is not None and self.block_weights != "probe":
            raise ValueError(
                f"probe_every={self.probe_every} with block_weights={self.block_weights}: only block_weights=probe "
                "probes; set it, or drop probe_every"
            )
        if self.block_weights == "probe" and self.algorithm in ("random", "last"):
            raise ValueError(
                f"block_weights=probe with algorithm={self.algorithm}: it deals the same blocks whatever they weigh, "
                "so a probe would cost forward passes and change nothing; set block_weights=uniform or params, or "
                "another algorithm"
            )
        if self.algorithm != "lexicographic" and self.epsilon > 0:
            raise ValueError(
                f"epsilon={self.epsilon:g} with algorithm={self.algorithm}: the comparators fill the budgets and know "
                "no ε; set epsilon=0, or algorithm=lexicographic"
            )
        if self.algorithm == "last" and self.every is not None:
            raise ValueError(
                f"every={self.every} with algorithm=last: a new deal would move clients off the last blocks; drop one"
            )
        return self
