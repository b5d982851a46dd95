"""Who activates which blocks: the ε-constraint lexicographic program (algorithm.md §7)."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel


class AllocationConfig(StrictModel):
    """Objectives, constraints and solver limits."""

    epsilon: float = Field(default=0.0, ge=0, le=1)
    """ε: share of the way from the best convergence (0) to the smallest memory (1) that may be given up."""
    block_weights: Literal["uniform", "params"] = "uniform"
    """ω_b: equal, or the block's parameters in scope."""
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
