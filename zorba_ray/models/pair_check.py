"""Whether forward pairs give the losses of the model that the user named, judged before a run begins.

Two parts, on a few short rows, padded and not, for the run's own scope, family, signs and compute path:

- Poison. Tensors in scope are NaN wherever a perturbed copy is not in their place. The loss must keep every bit, else a
  tensor is read somewhere else.
- Numbers. Pairs are held against the untouched model with its weights perturbed (`plain_loss`), for four sets of active
  blocks: the first, the last, every third, all.

What cannot be told apart from rounding is not judged: a set whose perturbation moves the loss too little is looked at
with a larger μ, and a run in which no set can be judged is refused.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zorba_ray.directions import DirectionBackend, Distribution
from zorba_ray.errors import ModelError
from zorba_ray.models.heads import Batch
from zorba_ray.models.loaded import running
from zorba_ray.models.perturbed_tensors import Perturbation
from zorba_ray.models.plain_loss import PlainHead, PlainLoss
from zorba_ray.models.task import TaskModel

SCALES = (0.01, 0.1, 1.0)
"""μ, and what it is raised to where a perturbation moves the loss too little to be judged."""
ROUNDING = {torch.float32: 4e-6, torch.bfloat16: 2e-3, torch.float16: 5e-4}
"""Difference of two ways to compute a loss that is rounding, times max(1, |loss|), by the dtype of matrices."""
_CHANGE = 4.0
"""Times the plain model's own change between batch shapes, where that is more."""
_CLEAR = {torch.float32: 100.0, torch.bfloat16: 10.0, torch.float16: 10.0}
"""A perturbation is judged where it moves the loss by this multiple of what is allowed."""
_SEED = 0x5EED


@dataclass(frozen=True)
class PairPath:
    """What of a run decides how its pairs are computed."""

    signs: int
    """2: θ ± μz; 1: θ + μz and θ."""
    together: bool
    """Clients that share directions go through the model together."""
    distribution: Distribution


@dataclass(frozen=True)
class Verdict:
    """Of a check that was passed."""

    largest: float
    """Largest |pair − plain|."""
    allowed: float
    """What was allowed there."""
    compared: int
    """Losses that were held against each other."""


def check_pairs(model: TaskModel, plain: PlainLoss, batches: Sequence[Batch], path: PairPath | None) -> Verdict:
    """Holds a model's evaluation and its pairs against the plain model.

    Args:
        batches: a padded one first, then one without padding.
        path: None where a method computes no pairs: evaluation alone.

    Raises:
        ModelError: names block, tensor and both numbers, and says what helps.
    """
    with running(model.loaded.label):
        return _Check(model, plain, batches, path).verdict()


@dataclass(frozen=True)
class _Trial:
    """What the plain model answers on a set of active blocks."""

    move: Perturbation
    wanted: list[list[float]]
    """Loss of each batch at each sign."""
    allowed: float


def _signs(path: PairPath) -> tuple[float, ...]:
    return (1.0, -1.0)[: path.signs]


class _Check:
    def __init__(self, model: TaskModel, plain: PlainLoss, batches: Sequence[Batch], path: PairPath | None) -> None:
        self._model, self._plain, self._batches, self._path = model, plain, batches, path
        self._label = f"model.path={model.loaded.label}"
        self._rounding = ROUNDING[model.compute]
        self._largest, self._allowed, self._compared = 0.0, math.inf, 0
        self._judged = 0

    @torch.inference_mode()
    def verdict(self) -> Verdict:
        starts, allowed = [], 0.0
        for batch in self._batches:
            start = self._plainly(batch)
            if not math.isfinite(start):
                raise ModelError(f"{self._label}: the loss of {len(batch)} short rows is {start} before any step")
            allowed = max(allowed, self._rounding * max(1.0, abs(start)), _CHANGE * self._change(batch, start))
            starts.append(start)
        if allowed > 0.05 * max(1.0, *map(abs, starts)):
            raise ModelError(
                f"{self._label}: the loss of a row depends on the rows beside it (by {allowed / _CHANGE:.2g}); "
                "nothing can be measured with such a model"
            )
        for batch, start in zip(self._batches, starts, strict=True):
            self._compare("evaluation", None, self._model.evaluate([batch]).loss, start, allowed)
        if self._path is not None:
            self._poison(self._path)
            for active in self._sets():
                self._numbers(active, starts, allowed, self._path)
            if not self._judged:
                raise ModelError(
                    f"{self._label}: no perturbation moves the loss by more than its rounding ({allowed:.2g}), so that "
                    "pairs cannot be checked; choose another zo.scope, or another model"
                )
        return Verdict(self._largest, self._allowed, self._compared)

    def _sets(self) -> list[frozenset[int]]:
        """The first block, the last, every third, all; each set once."""
        blocks = range(self._model.replica.manifest.blocks)
        return list(dict.fromkeys(map(frozenset, (blocks[:1], blocks[-1:], blocks[::3], blocks))))

    def _plainly(
        self, batch: Batch, active: frozenset[int] = frozenset(), move: Perturbation | None = None, sign: float = 0.0
    ) -> float:
        with self._model.lifted():
            return self._plain(batch, active, move, sign)

    def _change(
        self, batch: Batch, loss: float, active: frozenset[int] = frozenset(), move: Perturbation | None = None
    ) -> float:
        """How far the plain model's loss moves where the same rows are given twice."""
        double = Batch(*(torch.cat([part, part]) for part in (batch.ids_BT, batch.mask_BT, batch.labels_B)))
        doubled = self._plainly(double, active, move, 1.0 if move else 0.0)
        return abs(doubled - loss)

    def _poison(self, path: PairPath) -> None:
        active = frozenset(range(self._model.replica.manifest.blocks))
        still = self._move(0.0)
        batch = self._batches[0]
        clean = self._pair(batch, active, still, path)
        with self._model.poisoned(active):
            poisoned = self._pair(batch, active, still, path)
        if poisoned != clean:
            culprit = self._read_elsewhere(batch, still, path, clean)
            raise ModelError(
                f"{self._label}: {culprit} is read outside the block that it belongs to, where it is not perturbed "
                f"(loss {clean[0]:.6g}, with the tensor hidden {poisoned[0]:.6g}). {_REMEDY}"
            )

    def _read_elsewhere(self, batch: Batch, still: Perturbation, path: PairPath, clean: tuple[float, ...]) -> str:
        every = frozenset(range(self._model.replica.manifest.blocks))
        for entry in self._model.replica.manifest.moved(self._model.scope):
            with self._model.poisoned(frozenset({entry.block}), entry.name):
                if self._pair(batch, every, still, path) != clean:
                    return f"block {entry.block}: {entry.name}"
        return "a tensor in scope"

    def _numbers(self, active: frozenset[int], starts: Sequence[float], allowed: float, path: PairPath) -> None:
        trial = self._trial(active, starts, allowed, path)
        if trial is None:
            return
        signs, move = _signs(path), trial.move
        answers = [("pair", [self._pair(batch, active, move, path) for batch in self._batches])]
        if path.together:
            answers.append(("pair of clients together", self._pairs(self._batches, active, move, path)))
        for what, pairs in answers:
            for batch, losses, wanted in zip(self._batches, pairs, trial.wanted, strict=True):
                within = max(trial.allowed, self._rounding * max(map(abs, wanted)))
                for loss, plain, sign in zip(losses, wanted, signs, strict=True):
                    self._compare(what, (batch, active, move, sign), loss, plain, within)

    def _trial(self, active: frozenset[int], starts: Sequence[float], allowed: float, path: PairPath) -> _Trial | None:
        """The smallest μ whose perturbation can be told from rounding, else the largest; None: so far from θ the model
        itself has no number."""
        found = None
        # A low-rank step has a product of its own in 16 bits, rounded in another order than the plain model's: what an
        # order is worth is seen where the step is rounded into the weight.
        apart = self._model.rank > 0 and self._model.compute != torch.float32
        for scale in SCALES:
            move = self._move(scale)
            wanted = [[self._plainly(batch, active, move, s) for s in _signs(path)] for batch in self._batches]
            if not all(math.isfinite(loss) for losses in wanted for loss in losses):
                return found
            effect = max(abs(loss - start) for losses, start in zip(wanted, starts, strict=True) for loss in losses)
            within = allowed
            if len(active) == self._model.replica.manifest.blocks or scale != SCALES[0]:
                within = max(allowed, _CHANGE * self._change(self._batches[0], wanted[0][0], active, move))
            if apart:
                with self._plain.steps_rounded_in():
                    other = [[self._plainly(batch, active, move, s) for s in _signs(path)] for batch in self._batches]
                changes = [
                    abs(a - b) for own, two in zip(wanted, other, strict=True) for a, b in zip(own, two, strict=True)
                ]
                within = max(within, _CHANGE * max(changes))
            found = _Trial(move, wanted, within)
            if effect >= _CLEAR[self._model.compute] * within:
                self._judged += 1
                break
        return found

    def _move(self, scale: float) -> Perturbation:
        assert self._path is not None
        return Perturbation(_SEED, 0, scale, self._path.distribution)

    def _pair(self, batch: Batch, active: frozenset[int], move: Perturbation, path: PairPath) -> tuple[float, ...]:
        return self._pairs([batch], active, move, path)[0]

    def _pairs(
        self, batches: Sequence[Batch], active: frozenset[int], move: Perturbation, path: PairPath
    ) -> list[tuple[float, ...]]:
        return self._model.losses([self._model.prepare(batch, active, path.signs) for batch in batches], move)

    def _compare(
        self,
        what: str,
        where: tuple[Batch, frozenset[int], Perturbation, float] | None,
        loss: float,
        plain: float,
        allowed: float,
    ) -> None:
        self._compared += 1
        apart = abs(loss - plain)
        if apart <= allowed:
            if apart >= self._largest:
                self._largest, self._allowed = apart, allowed
            return
        named = "" if where is None else f" ({self._suspect(loss, *where, allowed)})"
        raise ModelError(
            f"{self._label}: a loss of this program is not the model's own: {what} {loss:.7g}, plain model "
            f"{plain:.7g}, {apart:.2g} apart where {allowed:.2g} is rounding{named}. {_REMEDY}"
        )

    def _suspect(
        self,
        loss: float,
        batch: Batch,
        active: frozenset[int],
        move: Perturbation,
        sign: float,
        allowed: float,
    ) -> str:
        """The tensor that explains a loss if it is left as it is, or the blocks that were active."""
        manifest = self._model.replica.manifest
        for block in sorted(active):
            for entry in manifest.scoped(block, self._model.scope):
                with self._plain.without(entry.name):
                    if abs(self._plainly(batch, active, move, sign) - loss) <= allowed:
                        return f"block {block}: {entry.name} is not perturbed"
        return f"blocks {', '.join(map(str, sorted(active)))} active, sign {sign:+.0f}"


_REMEDY = (
    "Scalars would be those of another model, so this run is refused: try another zo.scope, zo.rank=null, or "
    "another model"
)


def plain_loss(model: TaskModel, head: PlainHead, directions: DirectionBackend) -> PlainLoss:
    """The plain model beside a task model, on the same device and in the same dtype. `directions`: on the CPU."""
    where, dtype = model.device, model.compute
    return PlainLoss(model.loaded, model.replica, head, model.scope, model.rank, directions, where, dtype)
