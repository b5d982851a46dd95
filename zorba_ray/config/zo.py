"""Settings of the zeroth-order step."""

from typing import Any, Literal

from pydantic import Field, model_validator

from zorba_ray.config.base import StrictModel
from zorba_ray.errors import ConfigError

FixedScope = Literal["all", "matrices", "bias_norm", "lora", "biases", "norm_weights", "attention", "feed_forward"]


def _cheaper_difference(zo: dict[str, Any]) -> Literal["central", "forward"]:
    """The default of `zo.difference`. The paper uses central differences. With two or more dense directions per step,
    forward differences learn more per forward pass (docs/log, 2026-11-28)."""
    return "forward" if zo.get("directions", 1) > 1 and zo.get("rank") is None else "central"


class ZOConfig(StrictModel):
    """Learning rate, perturbation, and which tensors are perturbed (algorithm.md §2–3)."""

    lr: float = Field(default=1e-3, gt=0)
    """η, the learning rate, in round 1. `schedule` lowers it in later rounds."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How η falls to 0 over `rounds`. With `constant` a run often gets worse again after it has learnt."""
    perturbation_scale: float = Field(default=1e-3, gt=0)
    """μ, the finite-difference step. Not to be confused with ε (`allocation.epsilon`)."""
    directions: int = Field(default=1, ge=1, le=10**6)
    """P, forward pairs per client and local step."""
    local_steps: int = Field(default=1, ge=1)
    """K, steps that a client takes on its own copy of its active blocks before it reports."""
    distribution: Literal["rademacher", "gaussian"] = "rademacher"
    """Entries of z: `rademacher` is ±1, `gaussian` is a table of 4,096 normal quantiles."""
    rank: int | None = Field(default=None, ge=1)
    """r: the directions of a matrix have rank r, U Vᵀ/√r with U and V of ±1. No perturbed copy of a matrix is then
    needed. Directions of vectors stay dense. None: all directions are dense, or of rank 1 with `directions_per:
    example`."""
    directions_per: Literal["batch", "example"] = "batch"
    """What has a direction and a scalar of its own in each of the P pairs: the batch, or each of its examples. With
    `example`, the directions of matrices have rank 1, and a report has P scalars per example. It helps where clients
    have different labels, and needs no counts of labels."""
    examples_per_direction: int = Field(default=1, ge=1)
    """With `directions_per: example`: so many examples of a batch, one after another, share a direction and a
    scalar."""
    difference: Literal["central", "forward"] = Field(default_factory=_cheaper_difference)
    """How ρ is computed. `central`: [F(θ + μz) − F(θ − μz)] / 2μ, 2P passes per step. `forward`: [F(θ + μz) − F(θ)] / μ
    with one F(θ) for all directions, P + 1 passes per step. Default: `forward` if P ≥ 2 and directions are dense, else
    `central`."""
    scope: Literal[
        "all", "matrices", "bias_norm", "lora", "biases", "norm_weights", "attention", "feed_forward", "auto"
    ] = "all"
    """Tensors of an active block that are perturbed. `all`. `matrices`: those with two or more axes; of these
    `attention` or `feed_forward`. `bias_norm`: those with one axis; of these `biases` or `norm_weights`. `lora`: the
    adapters of `model.lora`. `auto` tries all, matrices and bias_norm before round 1, and takes what lowers the loss
    most at this rate; the run keeps the choice."""
    clip: float | None = Field(default=None, gt=0)
    """Largest |ρ|. Clients clip ρ to it, and the driver refuses a report beyond it. None: no clipping."""

    @model_validator(mode="after")
    def _per_example(self) -> "ZOConfig":
        if self.directions_per == "batch":
            if self.examples_per_direction != 1:
                raise ValueError(
                    f"examples_per_direction={self.examples_per_direction} with directions_per=batch: all examples of "
                    "a batch share their directions; set zo.directions_per=example"
                )
            return self
        if self.rank is not None:
            raise ValueError(
                f"rank={self.rank} with directions_per=example: the direction of an example has rank 1; set "
                "zo.rank=null"
            )
        if self.distribution != "rademacher":
            raise ValueError(
                f"distribution={self.distribution} with directions_per=example: directions of rank 1 must be signs, "
                "because only then updates are exact on every device; set zo.distribution=rademacher"
            )
        if self.scope in ("lora", "auto"):
            what = "adapters take dense directions" if self.scope == "lora" else "the choice goes by dense directions"
            raise ValueError(
                f"scope={self.scope} with directions_per=example: {what}; name another scope, such as zo.scope=all"
            )
        return self

    @model_validator(mode="after")
    def _low_rank(self) -> "ZOConfig":
        if self.rank is None:
            return self
        if self.distribution != "rademacher":
            raise ValueError(
                f"distribution={self.distribution} with rank={self.rank}: U and V must be signs, because only then "
                "updates are exact on every device; set zo.distribution=rademacher"
            )
        if self.difference == "forward":
            raise ValueError(
                f"difference=forward with rank={self.rank}: low-rank directions always run both signs; set "
                "zo.difference=central"
            )
        if self.scope in ("bias_norm", "biases", "norm_weights"):
            raise ValueError(f"rank={self.rank} with scope={self.scope}: no matrix is perturbed; set zo.rank=null")
        return self

    @property
    def family(self) -> Literal["dense", "low_rank"]:
        """Kind of directions of matrices."""
        return "low_rank" if self.matrix_rank else "dense"

    @property
    def matrix_rank(self) -> int:
        """Rank of the directions of matrices; 0: dense."""
        return 1 if self.directions_per == "example" else self.rank or 0

    @property
    def shared_by(self) -> int:
        """b, examples of a batch that share a direction; 0: all of them."""
        return self.examples_per_direction if self.directions_per == "example" else 0

    @property
    def fixed_scope(self) -> FixedScope:
        """`scope`, which must not be auto.

        Raises:
            ConfigError: the scope is auto, and this command cannot choose one.
        """
        if self.scope == "auto":
            raise ConfigError(
                "zo.scope=auto: the scope is chosen when a run begins, and this command needs it now; name a scope, "
                "such as zo.scope=bias_norm"
            )
        return self.scope


class DirectionsConfig(StrictModel):
    """Which implementation draws the directions; all give the same bits."""

    backend: Literal["auto", "numpy", "numba", "triton"] = "auto"
    """`auto`: numba on the CPU; on a real GPU triton if it works there, else numba. `triton` needs real GPUs
    (`federation.gpus`). `numpy` and `numba` always draw on the CPU, and directions are copied to a real GPU."""
