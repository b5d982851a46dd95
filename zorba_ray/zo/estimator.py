"""A client's share of a round: K local steps of P forward pairs each (algorithm.md §3 step 2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zorba_ray.directions import DirectionBackend, Terms, direction_seed
from zorba_ray.models import Batch, Perturbation, TaskModel
from zorba_ray.zo.rule import UpdateRule
from zorba_ray.zo.update import on_grid


@dataclass(frozen=True)
class Estimate:
    """What a client reports."""

    scalars: np.ndarray
    """float32 [K, P], ρ."""
    loss: float
    """Mean of (F⁺ + F⁻)/2 over all pairs."""


def projected_gradient(plus: float, minus: float, scale: float) -> np.float32:
    """ρ = (F⁺ − F⁻) / (2μ): fp32 losses, difference and quotient in float64, one rounding to fp32."""
    with np.errstate(over="ignore"):
        return np.float32((plus - minus) / (2.0 * scale))


def estimate(
    model: TaskModel,
    directions: DirectionBackend,
    rule: UpdateRule,
    client: int,
    round: int,
    lr: float,
    scale: float,
    clip: float | None,
    active: frozenset[int],
    batches: Sequence[Batch],
) -> Estimate:
    """ρ for every local step and direction; θ is read only.

    Args:
        batches: one per local step. With K > 1 the client walks an overlay of its active blocks by the same
            `apply_commits`, with its own scalars; θ itself stays.
        scale: μ.
        clip: |ρ| is clipped to this; None is no clip.
    """
    scalars = np.zeros((rule.local_steps, rule.directions), dtype=np.float32)
    overlay: dict[tuple[int, int], torch.Tensor] = {}
    total = 0.0
    for step, batch in enumerate(batches):
        seed = direction_seed(rule.seed, round, rule.stream_of(client), step)
        prepared = model.prepare(batch, active)
        for direction in range(rule.directions):
            perturbation = Perturbation(seed, direction, scale, rule.distribution, overlay)
            plus, minus = model.pair(prepared, perturbation)
            total += (plus + minus) / 2.0
            rho = projected_gradient(plus, minus, scale)
            scalars[step, direction] = rho if clip is None else np.clip(rho, np.float32(-clip), np.float32(clip))
        if step + 1 < rule.local_steps and np.isfinite(scalars[step]).all():
            _walk(model, directions, rule, seed, lr, scalars[step], active, overlay)
    return Estimate(scalars, total / (rule.local_steps * rule.directions))


def _walk(
    model: TaskModel,
    directions: DirectionBackend,
    rule: UpdateRule,
    seed: int,
    lr: float,
    scalars: np.ndarray,
    active: frozenset[int],
    overlay: dict[tuple[int, int], torch.Tensor],
) -> None:
    """One local step on the overlay (created from θ at the first)."""
    coefficients = on_grid(-lr * scalars.astype(np.float64) / rule.directions)
    moving = np.flatnonzero(coefficients)
    seeds = np.full(len(moving), seed, dtype=np.uint64)
    terms = Terms(seeds, moving.astype(np.uint64), coefficients[moving], rule.distribution)
    replica = model.replica
    for block in sorted(active):
        for tensor in replica.manifest.scoped(block, rule.scope):
            key = (tensor.block, tensor.slot)
            if key not in overlay:
                overlay[key] = replica.parameters[tensor.name].clone()
            directions.apply_commits(overlay[key], tensor.block, tensor.slot, [terms])
