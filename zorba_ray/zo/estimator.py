"""A client's share of a round: K local steps of P forward pairs each (algorithm.md §3 step 2)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zorba_ray.directions import DirectionBackend, Terms, direction_seed
from zorba_ray.models import Batch, Perturbation, PreparedBatch, TaskModel
from zorba_ray.zo.rule import UpdateRule
from zorba_ray.zo.scalars import clipped_scalars
from zorba_ray.zo.update import move, on_grid, rank_of


@dataclass(frozen=True)
class Share:
    """A client's part in a round."""

    client: int
    active: frozenset[int]
    """A_n."""
    batches: Sequence[Batch]
    """One per local step."""


@dataclass(frozen=True)
class StepSizes:
    """What the plan of a round sets."""

    lr: float
    """η, for local steps."""
    scale: float
    """μ."""
    clip: float | None
    """|ρ| is clipped to this; None is no clip."""
    one_sided: bool = False
    """ρ = [F(θ + μz) − F(θ)] / μ with one F(θ) for all directions of a step, instead of [F⁺ − F⁻] / 2μ."""

    @property
    def signs(self) -> int:
        return 1 if self.one_sided else 2


@dataclass(frozen=True)
class Estimate:
    """What a client reports."""

    scalars: np.ndarray
    """float32 [K, P], ρ."""
    loss: float
    """Mean of (F⁺ + F⁻)/2 over all pairs; of F(θ) over the local steps where differences are one-sided."""


def projected_gradient(plus: float, minus: float, scale: float, signs: int = 2) -> np.float32:
    """ρ = (F⁺ − F⁻) / (2μ), or (F⁺ − F) / μ with one sign: fp32 losses, difference and quotient in float64, one
    rounding to fp32."""
    with np.errstate(over="ignore"):
        return np.float32((plus - minus) / (signs * scale))


def estimate(
    model: TaskModel,
    directions: DirectionBackend,
    rule: UpdateRule,
    round: int,
    sizes: StepSizes,
    shares: Sequence[Share],
) -> list[Estimate]:
    """ρ of every client for every local step and direction; θ is read only. A client's numbers are those it has alone.

    With K > 1 a client walks an overlay of its active blocks by the same `apply_commits`, with its own scalars; θ
    itself stays. Clients that share a direction (seeds: shared, K = 1) go through the model together, so that each
    tensor is perturbed once for all of them; their hidden states are held at the same time.
    """
    if rule.seeds == "shared" and rule.local_steps == 1:
        return _together(model, rule, round, sizes, shares)
    found = []
    for share in shares:
        stream = rule.stream_of(share.client)
        seeds = [direction_seed(rule.seed, round, stream, step) for step in range(rule.local_steps)]
        found.append(local_steps(model, directions, rule, sizes, share, seeds))
    return found


def _together(
    model: TaskModel, rule: UpdateRule, round: int, sizes: StepSizes, shares: Sequence[Share]
) -> list[Estimate]:
    seed = direction_seed(rule.seed, round, rule.stream_of(shares[0].client), 0)
    prepared = [model.prepare(share.batches[0], share.active, sizes.signs) for share in shares]
    found = step_scalars(model, rule, sizes, seed, prepared, {})
    return [Estimate(scalars[None, :], loss) for scalars, loss in found]


def step_scalars(
    model: TaskModel,
    rule: UpdateRule,
    sizes: StepSizes,
    seed: int,
    prepared: Sequence[PreparedBatch],
    overlay: Mapping[tuple[int, int], torch.Tensor],
) -> list[tuple[np.ndarray, float]]:
    """(ρ float32 [P], loss) of each prepared batch along the directions of `seed`, at θ or where `overlay` puts it."""
    scalars = np.zeros((len(prepared), rule.directions), dtype=np.float32)
    totals = [0.0] * len(prepared)
    bases: list[tuple[float, ...]] | None = None
    if sizes.one_sided:
        bases = model.losses(prepared, Perturbation(seed, 0, 0.0, rule.distribution, overlay))
    for direction in range(rule.directions):
        perturbation = Perturbation(seed, direction, sizes.scale, rule.distribution, overlay)
        for place, losses in enumerate(model.losses(prepared, perturbation)):
            plus, minus = (losses[0], bases[place][0]) if bases else losses
            totals[place] += minus if bases else (plus + minus) / 2.0
            scalars[place, direction] = _clipped(plus, minus, sizes)
    return [(own, total / rule.directions) for own, total in zip(scalars, totals, strict=True)]


def local_steps(
    model: TaskModel,
    directions: DirectionBackend,
    rule: UpdateRule,
    sizes: StepSizes,
    share: Share,
    seeds: Sequence[int],
) -> Estimate:
    """One client's steps, each from where its own scalars led it so far; after one that is not finite it stays.

    Args:
        seeds: seed64 of every step.
    """
    scalars = np.zeros((rule.local_steps, rule.directions), dtype=np.float32)
    overlay: dict[tuple[int, int], torch.Tensor] = {}
    total = 0.0
    for step, (batch, seed) in enumerate(zip(share.batches, seeds, strict=True)):
        prepared = model.prepare(batch, share.active, sizes.signs)
        ((scalars[step], loss),) = step_scalars(model, rule, sizes, seed, [prepared], overlay)
        total += loss
        if step + 1 < rule.local_steps and np.isfinite(scalars[step]).all():
            walk(model, directions, rule, seed, sizes, scalars[step], share.active, overlay)
    return Estimate(scalars, total / rule.local_steps)


def _clipped(plus: float, minus: float, sizes: StepSizes) -> np.float32:
    rho = projected_gradient(plus, minus, sizes.scale, sizes.signs)
    return rho if sizes.clip is None else np.clip(rho, np.float32(-sizes.clip), np.float32(sizes.clip))


def walk(
    model: TaskModel,
    directions: DirectionBackend,
    rule: UpdateRule,
    seed: int,
    sizes: StepSizes,
    scalars: np.ndarray,
    active: frozenset[int],
    overlay: dict[tuple[int, int], torch.Tensor],
) -> None:
    """One local step along the directions of `seed` on the overlay, which is created from θ at the first.

    A step's scalars are clipped by their own median (`zo.clip_spread`).

    Args:
        scalars: float32 [P], ρ.
    """
    numbers = np.arange(len(scalars), dtype=np.uint64)
    seeds = np.full(len(scalars), seed, dtype=np.uint64)
    raw = -sizes.lr * clipped_scalars(rule, scalars) / rule.directions
    terms = {0: Terms(seeds, numbers, on_grid(raw), rule.distribution).moving()}
    if rule.rank:
        low = on_grid(raw / math.sqrt(rule.rank), rule.rank)
        terms[rule.rank] = Terms(seeds, numbers, low, rule.distribution).moving()
    replica = model.replica
    for block in sorted(active):
        for tensor in replica.manifest.scoped(block, rule.scope):
            key = (tensor.block, tensor.slot)
            if key not in overlay:
                overlay[key] = model.master(tensor)
            rank = rank_of(rule, tensor)
            move(directions, tensor, overlay[key], rank, [terms[rank]])
