"""Who activates which blocks: the ε-constraint lexicographic program (algorithm.md §7)."""

from typing import Literal

from pydantic import Field, model_validator

from zorba_ray.config.base import StrictModel


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
    max_blocks: int | None = Field(default=None, ge=1)
    """At most this many active blocks per client; None is no bound."""
    vram: Literal["total_bytes", "worst_share"] = "total_bytes"
    """f2: the fleet's bytes, or the largest share of a budget."""
    order: tuple[Literal["convergence", "vram"], Literal["convergence", "vram"]] = ("convergence", "vram")
    """Lexicographic order of the objectives."""
    time_limit_s: float = Field(default=30.0, gt=0)
    """Seconds for all steps together."""
    gap: float = Field(default=1e-3, ge=0)
    """Relative gap at which a step counts as solved."""

    @model_validator(mode="after")
    def _probe_and_comparators(self) -> "AllocationConfig":
        if self.probe_every is not None and self.block_weights != "probe":
            raise ValueError(
                f"probe_every={self.probe_every} with block_weights={self.block_weights}: only block_weights=probe "
                "probes; set it, or drop probe_every"
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
