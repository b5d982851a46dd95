"""Who activates which blocks: the ε-constraint lexicographic program (algorithm.md §7)."""

from typing import Literal

from pydantic import Field, model_validator

from zorba_ray.config.base import StrictModel


class ClientRule(StrictModel):
    """What some clients must hold and can do: one class, or clients by id; all clients where neither is said."""

    kind: str | None = None
    """Name of a class in federation.fleet."""
    clients: tuple[int, ...] | None = None
    """Client ids, from 0."""
    min_blocks: int | None = Field(default=None, ge=1)
    """Each holds at least this many blocks; 1 where nothing is said."""
    max_blocks: int | None = Field(default=None, ge=1)
    """Each holds at most this many blocks, in place of allocation.max_blocks."""
    require: tuple[int, ...] = ()
    """Blocks that they must hold, from 0."""
    forbid: tuple[int, ...] = ()
    """Blocks that they must not hold, from 0."""
    speed: float | None = Field(default=None, gt=0)
    """Multiple of memory.flops_per_s and host_bytes_per_s at which they compute and stream; 0.5 is half as fast."""

    @model_validator(mode="after")
    def _about_somebody(self) -> "ClientRule":
        if self.kind is not None and self.clients is not None:
            raise ValueError(
                f"kind ({self.kind}) and clients ({list(self.clients)}) both say whom it is about: drop one"
            )
        if self.clients is not None and (not self.clients or min(self.clients) < 0):
            raise ValueError(f"clients {list(self.clients)} must be ids from 0, at least one")
        return self


class AllocationConfig(StrictModel):
    """Objectives, constraints and solver limits."""

    epsilon: float = Field(default=0.0, ge=0, le=1)
    """ε, how much convergence may be given up for less memory: 0 none, 1 all the way to the smallest memory."""
    algorithm: Literal["lexicographic", "greedy", "random", "last"] = "lexicographic"
    """`lexicographic` decides; the others are comparators that fill the same budgets without a proof: `greedy` adds the
    block that lowers f1 most per byte, `random` takes blocks in random order, `last` the last blocks that fit (blocks
    that then nobody holds are never trained)."""
    block_weights: Literal["uniform", "params", "probe"] = "uniform"
    """ω_b: equal, the block's parameters in scope, or what a probe of the clients' gradients finds."""
    probe_pairs: int = Field(default=16, ge=2)
    """Forward pairs of a probe per client, block and batch; a probe takes two batches."""
    probe_every: int | None = Field(default=None, ge=1)
    """Rounds after which the blocks are probed and assigned anew; None probes once, before round 1."""
    every: int | None = Field(default=None, ge=1)
    """Rounds after which the blocks are dealt anew at equal bytes and equal f1, so that each block comes to see every
    client's data; None keeps a deal until the fleet changes."""
    coverage: int = Field(default=1, ge=1)
    """Every block is active on at least this many clients (2f+1 for f Byzantine clients)."""
    max_blocks: int | None = Field(default=None, ge=1)
    """At most this many active blocks per client; None is no bound."""
    rules: tuple[ClientRule, ...] = ()
    """What is known of single clients or classes; where two entries say the same thing, the later one wins."""
    vram: Literal["total_bytes", "worst_share"] = "total_bytes"
    """f2: the fleet's bytes, or the largest share of a budget."""
    order: tuple[Literal["convergence", "vram", "time"], ...] = Field(
        default=("convergence", "vram"), min_length=2, max_length=3
    )
    """Lexicographic order of two or three objectives; time is that of the slowest client, for which a round waits.
    Clients are not merged where time is one."""
    time_limit_s: float = Field(default=30.0, gt=0)
    """Seconds for all steps together."""
    gap: float = Field(default=1e-3, ge=0, lt=1)
    """A step counts as solved when (value − bound) / value is at most this. The value of f2 in the denominator is
    without the bases, which no allocation changes: bytes above the sum of the bases, or the share above the largest
    share that a base takes."""

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
