"""The zeroth-order step."""

from typing import Literal

from pydantic import Field

from zorba_ray.config.base import StrictModel


class ZOConfig(StrictModel):
    """Perturbation, learning rate and what is perturbed (algorithm.md §2–3)."""

    lr: float = Field(default=1e-3, gt=0)
    """η at round 1; `schedule` gives the rest."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How η falls to 0 over `rounds`. A constant rate rises and falls back in zeroth-order runs; see the README."""
    perturbation_scale: float = Field(default=1e-3, gt=0)
    """μ, the finite-difference step. Not to be confused with ε (`allocation.epsilon`)."""
    directions: int = Field(default=1, ge=1)
    """P, forward pairs per client and local step."""
    local_steps: int = Field(default=1, ge=1)
    """K, steps a client walks on an overlay of its active blocks before it reports."""
    distribution: Literal["rademacher", "gaussian"] = "rademacher"
    """Entries of z: ±1, or a 4,096-entry table of normal quantiles."""
    scope: Literal["all", "matrices", "bias_norm"] = "all"
    """Tensors of an active block that are perturbed: all, those with two or more axes, or the 1-D ones."""
    clip: float | None = Field(default=None, gt=0)
    """Largest |ρ|: clients clip to it, the driver refuses a report beyond it. None is no clip."""


class DirectionsConfig(StrictModel):
    """Which implementation draws the directions; all give the same bits."""

    backend: Literal["auto", "numpy", "numba", "triton"] = "auto"
    """`auto` is numba. triton is refused by this version: on a GPU the CPU kernels are staged."""
