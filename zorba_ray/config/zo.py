"""The zeroth-order step."""

from typing import Any, Literal

from pydantic import Field, model_validator

from zorba_ray.config.base import StrictModel
from zorba_ray.errors import ConfigError

FixedScope = Literal["all", "matrices", "bias_norm", "lora", "biases", "norm_weights", "attention", "feed_forward"]


def _cheaper_difference(zo: dict[str, Any]) -> Literal["central", "forward"]:
    """Two-sided differences are the paper's. With several dense directions a step, one-sided ones learn more per
    forward pass (docs/log, 2026-11-28)."""
    return "forward" if zo.get("directions", 1) > 1 and zo.get("rank") is None else "central"


class ZOConfig(StrictModel):
    """Perturbation, learning rate and what is perturbed (algorithm.md §2–3)."""

    lr: float = Field(default=1e-3, gt=0)
    """η at round 1; `schedule` gives the rest."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How η falls to 0 over `rounds`. A constant rate rises and falls back in zeroth-order runs; see the README."""
    perturbation_scale: float = Field(default=1e-3, gt=0)
    """μ, the finite-difference step. Not to be confused with ε (`allocation.epsilon`)."""
    directions: int = Field(default=1, ge=1, le=10**6)
    """P, forward pairs per client and local step."""
    local_steps: int = Field(default=1, ge=1)
    """K, steps a client walks on an overlay of its active blocks before it reports."""
    distribution: Literal["rademacher", "gaussian"] = "rademacher"
    """Entries of z: ±1, or a 4,096-entry table of normal quantiles."""
    rank: int | None = Field(default=None, ge=1)
    """r: directions of a matrix are of low rank, U Vᵀ/√r with U, V of ±1 (vectors stay dense), which needs no perturbed
    copy of a weight. None: dense, every entry its own."""
    difference: Literal["central", "forward"] = Field(default_factory=_cheaper_difference)
    """`central`: [F(θ + μz) − F(θ − μz)] / 2μ, 2P passes a step; `forward`: [F(θ + μz) − F(θ)] / μ with one F(θ) for
    all directions, P + 1 passes. Left out: `forward` where P ≥ 2 directions are dense, else `central`."""
    scope: Literal[
        "all", "matrices", "bias_norm", "lora", "biases", "norm_weights", "attention", "feed_forward", "auto"
    ] = "all"
    """Tensors of an active block that are perturbed: all, those with two or more axes (of the attention, or the
    others), the 1-D ones (biases, or the others), or the adapters of `model.lora`. `auto` chooses among all, matrices
    and bias_norm by a few forward pairs before the first round; what it chose stays with the run."""
    clip: float | None = Field(default=None, gt=0)
    """Largest |ρ|: clients clip to it, the driver refuses a report beyond it. None is no clip."""
    clip_spread: float | None = Field(default=None, ge=1)
    """Scalars beyond this multiple of the round's median |ρ| are shrunk to it when the update is derived; the ledger
    keeps them as they were reported. None is no shrinking."""

    @model_validator(mode="after")
    def _low_rank(self) -> "ZOConfig":
        if self.rank is None:
            return self
        if self.distribution != "rademacher":
            raise ValueError(
                f"distribution={self.distribution} with rank={self.rank}: U and V are signs, so that a commit is exact "
                "on every device; set zo.distribution=rademacher"
            )
        if self.difference == "forward":
            raise ValueError(
                f"difference=forward with rank={self.rank}: its blocks take both signs at once; set "
                "zo.difference=central"
            )
        if self.scope in ("bias_norm", "biases", "norm_weights"):
            raise ValueError(f"rank={self.rank} with scope={self.scope}: no matrix is perturbed; set zo.rank=null")
        return self

    @property
    def family(self) -> Literal["dense", "low_rank"]:
        """What directions of a matrix are; by `rank`."""
        return "dense" if self.rank is None else "low_rank"

    @property
    def fixed_scope(self) -> FixedScope:
        """`scope`, once nothing is left to choose.

        Raises:
            ConfigError: auto, where nothing is run that could choose.
        """
        if self.scope == "auto":
            raise ConfigError(
                "zo.scope=auto: what is perturbed is chosen before a run begins, and this needs it now; name a scope, "
                "such as zo.scope=bias_norm"
            )
        return self.scope


class DirectionsConfig(StrictModel):
    """Which implementation draws the directions; all give the same bits."""

    backend: Literal["auto", "numpy", "numba", "triton"] = "auto"
    """`auto` is numba on the CPU and triton on a real GPU, if it works there; if not, numba on the CPU with copies.
    triton needs real GPUs (`federation.gpus`). numpy and numba on a real GPU: drawn on the CPU, copied."""
