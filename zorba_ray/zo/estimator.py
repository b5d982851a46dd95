"""What a client computes in a round: K local steps of P forward pairs each (algorithm.md §3 step 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import DirectionBackend, direction_seed
from zorba_ray.models import Batch, Perturbation, PreparedBatch, TaskModel
from zorba_ray.zo.update import RoundUpdate, UpdateRule, apply_terms, commit_terms

Overlay = dict[tuple[int, int], torch.Tensor]
"""(block, slot) -> fp32 [numel]: the client's local copy of a tensor of θ, which its local steps change."""


def projected_gradient(plus: Any, minus: Any, scale: float, signs: int = 2) -> Any:
    """ρ = (F⁺ − F⁻) / (2μ), or (F⁺ − F) / μ with `signs` = 1; of two losses, or of arrays of them.

    Difference and quotient are float64 and are rounded once, to fp32.
    """
    with np.errstate(over="ignore"):
        return np.float32((plus - minus) / (signs * scale))


class Estimator:
    """Takes the steps of one or more clients on one replica, whose θ it only reads.

    A client's numbers do not depend on which other clients share the replica.
    """

    def __init__(
        self,
        model: TaskModel,
        directions: DirectionBackend,
        rule: UpdateRule,
        lr: float,
        scale: float,
        clip: float | None = None,
        one_sided: bool = False,
        shared_by: int = 0,
    ) -> None:
        """
        Args:
            directions: implementation on the device that computes; used by local steps.
            lr: η; used by local steps.
            scale: μ.
            clip: largest |ρ|; None: no clipping.
            one_sided: ρ = [F(θ + μz) − F(θ)] / μ with one F(θ) for all directions of a step, instead of
                [F⁺ − F⁻] / 2μ.
            shared_by: b, examples of a batch that share a direction and a scalar; 0: all of them.
        """
        self._model, self._directions, self._rule = model, directions, rule
        self._lr, self._scale, self._clip = lr, scale, clip
        self._signs = 1 if one_sided else 2
        self._shared_by = shared_by
        self._alone = replace(rule, aggregate="mean")  # a client on its own has nobody to be compared with

    def round(
        self, number: int, active: ActiveSets, batches: Mapping[int, Sequence[Batch]]
    ) -> dict[int, tuple[np.ndarray, float]]:
        """Client -> (ρ float32 [K, P] or [K, P · G], as of `RoundUpdate`; mean training loss).

        The loss is the mean of (F⁺ + F⁻)/2 over all pairs; with one-sided differences it is the mean of F(θ) over the
        local steps. Clients that share their directions (seeds: shared, K = 1) go through the model together: each
        tensor is perturbed once for all of them, and the hidden states of all are held at the same time.

        Args:
            batches: client -> one batch per local step.
        """
        rule = self._rule
        if rule.seeds == "shared" and rule.local_steps == 1 and not rule.groups:
            prepared = [self._model.prepare(batch, active.of(n), self._signs) for n, (batch,) in batches.items()]
            reports = self.step(direction_seed(rule.seed, number, 0, 0), prepared)
            return {n: (scalars[None, :], loss) for n, (scalars, loss) in zip(batches, reports, strict=True)}
        seeds = {
            n: [direction_seed(rule.seed, number, rule.stream_of(n), step) for step in range(rule.local_steps)]
            for n in batches
        }
        return {n: self.local_steps(active.of(n), steps, seeds[n]) for n, steps in batches.items()}

    def local_steps(
        self, active: frozenset[int], batches: Sequence[Batch], seeds: Sequence[int]
    ) -> tuple[np.ndarray, float]:
        """(ρ float32 [K, P] or [K, P · G], loss) of one client. After each step it updates its own copy of its active
        blocks, the overlay, and takes the next step from there. Scalars that are not finite change nothing.

        Args:
            seeds: the `direction_seed` of every step.
        """
        scalars = np.zeros((len(batches), self._rule.scalars), dtype=np.float32)
        overlay: Overlay = {}
        total = 0.0
        for step, (batch, seed) in enumerate(zip(batches, seeds, strict=True)):
            prepared = self._model.prepare(batch, active, self._signs)
            if self._rule.groups:
                rho, loss = self._step_by_example(seed, prepared, overlay)
                scalars[step] = np.pad(
                    rho, [(0, 0), (0, self._rule.groups - rho.shape[1])], constant_values=np.nan
                ).flat
            else:
                ((rho, loss),) = self.step(seed, [prepared], overlay)
                scalars[step] = rho
            total += loss
            if step + 1 < len(batches) and np.isfinite(rho).all():
                self.walk(seed, scalars[step], active, overlay)
        return scalars, total / len(batches)

    def step(
        self, seed: int, prepared: Sequence[PreparedBatch], overlay: Overlay | None = None
    ) -> list[tuple[np.ndarray, float]]:
        """(ρ float32 [P], loss) of each prepared batch along the directions of `seed`, at θ with the tensors of
        `overlay` in place of its own."""
        rule, overlay = self._rule, overlay or {}
        scalars = np.zeros((len(prepared), rule.directions), dtype=np.float32)
        totals = [0.0] * len(prepared)
        bases: list[tuple[float, ...]] = []
        if self._signs == 1:
            bases = self._model.losses(prepared, Perturbation(seed, 0, 0.0, rule.distribution, overlay))
        for direction in range(rule.directions):
            perturbation = Perturbation(seed, direction, self._scale, rule.distribution, overlay)
            for index, losses in enumerate(self._model.losses(prepared, perturbation)):
                plus, other = (losses[0], bases[index][0]) if bases else losses  # other: F(θ), or F⁻
                totals[index] += other if bases else (plus + other) / 2.0
                scalars[index, direction] = self._clipped(plus, other)
        return [(rhos, total / rule.directions) for rhos, total in zip(scalars, totals, strict=True)]

    def _step_by_example(self, seed: int, prepared: PreparedBatch, overlay: Overlay) -> tuple[np.ndarray, float]:
        """(ρ float32 [P, G_n], loss) of a batch whose G_n groups of examples have directions of their own."""
        rule = self._rule
        move = Perturbation(seed, 0, 0.0, rule.distribution, overlay, shared_by=self._shared_by, groups=rule.groups)
        base = self._model.example_losses(prepared, move)[0] if self._signs == 1 else None
        scalars, total = [], 0.0
        for direction in range(rule.directions):
            losses = self._model.example_losses(prepared, replace(move, direction=direction, scale=self._scale))
            plus, other = losses[0], losses[1] if base is None else base
            total += float(((plus + other) / 2.0 if base is None else other).mean())
            scalars.append(self._clipped(plus, other))
        return np.stack(scalars), total / rule.directions

    def _clipped(self, plus: Any, other: Any) -> Any:
        """ρ of losses, within `clip`."""
        rho = projected_gradient(plus, other, self._scale, self._signs)
        return rho if self._clip is None else np.clip(rho, np.float32(-self._clip), np.float32(self._clip))

    def walk(self, seed: int, scalars: np.ndarray, active: frozenset[int], overlay: Overlay) -> None:
        """Updates the overlay by one local step along the directions of `seed`, as a commit would in which only this
        client reported. A tensor that the overlay lacks is first copied from θ.

        Args:
            scalars: float32 [P], ρ.

        Raises:
            Diverged: a coefficient overflows.
        """
        rule = self._alone
        alone = RoundUpdate(0, self._lr, np.zeros(1, np.int64), scalars[None, None], ActiveSets.of_all(1, 1))
        seeds = np.array([[seed]], dtype=np.uint64)
        terms = {rank: [commit_terms(rule, alone, seeds, 0, rank)] for rank in {0, rule.rank}}
        for block in sorted(active):
            for tensor in self._model.replica.manifest.scoped(block, rule.scope):
                key = (block, tensor.slot)
                if key not in overlay:
                    overlay[key] = self._model.master(tensor)
                apply_terms(self._directions, rule, tensor, overlay[key], terms)
