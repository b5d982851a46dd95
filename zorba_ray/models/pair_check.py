"""Whether forward pairs give the losses of the model that the user named, judged before a run begins.

Two parts, on a few short rows, padded and not, for the run's own scope, family, signs and compute path:

- Poison. Tensors in scope are NaN wherever a perturbed copy is not in their place. The loss must keep every bit, else a
  tensor is read somewhere else.
- Numbers. Pairs are held against the untouched model with its weights perturbed (`plain_loss`), for four sets of active
  blocks: the first, the last, every third, all. Where groups of examples have directions of their own, the loss of each
  group is held against the model with that group's weights.

What cannot be told apart from rounding is not judged: a set whose perturbation moves the loss too little is looked at
with a larger μ, and a run in which no set can be judged is refused.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zorba_ray.directions import Distribution
from zorba_ray.errors import ModelError
from zorba_ray.formats import Format
from zorba_ray.models.batch import Batch
from zorba_ray.models.loaded import running
from zorba_ray.models.perturbation import Perturbation, group_count
from zorba_ray.models.plain_loss import PlainLoss, PlainStep
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
_REMEDY = (
    "Scalars would be those of another model, so this run is refused: try another zo.scope, zo.rank=null, or "
    "another model"
)


@dataclass(frozen=True)
class PairPath:
    """What of a run decides how its pairs are computed."""

    signs: int
    """2: θ ± μz; 1: θ + μz and θ."""
    together: bool
    """Clients that share directions go through the model together."""
    distribution: Distribution
    format: Format = "compute"
    """Of frozen matrices."""
    shared_by: int = 0
    """Examples of a batch that share a direction; 0: all of them."""


@dataclass(frozen=True)
class _Aim:
    """A step, and the rows of a batch whose loss is looked at after it."""

    step: PlainStep
    rows: slice
    among: int
    """G, groups of the batch: the loss of a group is its part of the mean over all items, times G."""


@dataclass(frozen=True)
class Verdict:
    """Of a check that was passed."""

    largest: float
    """Largest |pair − plain|."""
    allowed: float
    """What was allowed there."""
    compared: int
    """Losses that were held against each other."""


@torch.inference_mode()
def check_pairs(model: TaskModel, plain: PlainLoss, batches: Sequence[Batch], path: PairPath | None) -> Verdict:
    """Holds a model's evaluation and its pairs against the plain model.

    Args:
        batches: a padded one first, then one without padding.
        path: None where a method computes no pairs: evaluation alone.

    Raises:
        ModelError: names block, tensor and both numbers, and says what helps.
    """
    with running(model.loaded.label):
        check = _PairCheck(model, plain, batches, path or PairPath(0, False, "rademacher"))
        check.evaluations()
        if path is not None:
            check.pairs()
        return check.verdict


class _PairCheck:
    """Losses of the program held against those of the plain model."""

    def __init__(self, model: TaskModel, plain: PlainLoss, batches: Sequence[Batch], path: PairPath) -> None:
        self._model, self._plain, self._batches, self._path = model, plain, batches, path
        self._signs = (1.0, -1.0)[: path.signs]
        self._manifest = model.replica.manifest
        self._every = frozenset(range(self._manifest.blocks))
        self._label = f"model.path={model.loaded.label}"
        self._rounding = ROUNDING[model.compute]
        self._starts: list[float] = []
        """Plain loss of each batch at θ."""
        self._tolerance = 0.0
        """Difference that is rounding, at θ."""
        self.verdict = Verdict(0.0, math.inf, 0)

    def evaluations(self) -> None:
        """Measures what is rounding, and compares the losses at θ."""
        for batch in self._batches:
            start = self._plain(batch)
            if not math.isfinite(start):
                raise ModelError(f"{self._label}: the loss of {len(batch)} short rows is {start} before any step")
            self._starts.append(start)
            change = _CHANGE * self._change(batch, start)
            self._tolerance = max(self._tolerance, self._rounding * max(1.0, abs(start)), change)
        if self._tolerance > 0.05 * max(1.0, *map(abs, self._starts)):
            raise ModelError(
                f"{self._label}: the loss of a row depends on the rows beside it (by {self._tolerance / _CHANGE:.2g}); "
                "nothing can be measured with such a model"
            )
        for batch, start in zip(self._batches, self._starts, strict=True):
            self._hold("evaluation", batch, None, self._model.evaluate([batch]).loss, start, self._tolerance)

    def _change(self, batch: Batch, loss: float, step: PlainStep | None = None) -> float:
        """How far the plain model's loss moves where the same rows are given twice."""
        return abs(self._plain(batch.twice(), step) - loss)

    def _hold(self, what: str, batch: Batch, aim: _Aim | None, loss: float, plain: float, allowed: float) -> None:
        """`aim`: what both losses are of; None: of the batch at θ."""
        apart, before = abs(loss - plain), self.verdict
        if apart <= allowed:
            largest = (apart, allowed) if apart >= before.largest else (before.largest, before.allowed)
            self.verdict = Verdict(*largest, before.compared + 1)
            return
        suspect = "" if aim is None else f" ({self._suspect(loss, batch, aim, allowed)})"
        raise ModelError(
            f"{self._label}: a loss of this program is not the model's own: {what} {loss:.7g}, plain model "
            f"{plain:.7g}, {apart:.2g} apart where {allowed:.2g} is rounding{suspect}. {_REMEDY}"
        )

    def _suspect(self, loss: float, batch: Batch, aim: _Aim, allowed: float) -> str:
        """The tensor that explains a loss if it is left as it is, or the blocks that were active."""
        step = aim.step
        for block in sorted(step.active):
            for entry in self._model.replica.manifest.scoped(block, self._model.scope):
                without = dataclasses.replace(aim, step=dataclasses.replace(step, left_out=entry.name))
                if abs(self._loss(batch, without) - loss) <= allowed:
                    return f"block {block}: {entry.name} is not perturbed"
        return f"blocks {', '.join(map(str, sorted(step.active)))} active, sign {step.sign:+.0f}"

    def pairs(self) -> None:
        """Poison, and the numbers of four sets of active blocks."""
        self._poison()
        blocks = range(self._manifest.blocks)
        sets = dict.fromkeys(map(frozenset, (blocks[:1], blocks[-1:], blocks[::3], blocks)))
        judged = [self._numbers(active) for active in sets]
        if not any(judged):
            raise ModelError(
                f"{self._label}: no perturbation moves the loss by more than its rounding "
                f"({self._tolerance:.2g}), so that pairs cannot be checked; choose another zo.scope, or another "
                "model"
            )

    def _poison(self) -> None:
        still, batch = self._move(0.0), self._batches[:1]
        (clean,) = self._pairs(batch, self._every, still)
        with self._model.poisoned(self._every):
            (poisoned,) = self._pairs(batch, self._every, still)
        if poisoned == clean:
            return
        culprit = "a tensor in scope"
        for entry in self._manifest.moved(self._model.scope):
            with self._model.poisoned(frozenset({entry.block}), entry.name):
                if self._pairs(batch, self._every, still) != [clean]:
                    culprit = f"block {entry.block}: {entry.name}"
                    break
        raise ModelError(
            f"{self._label}: {culprit} is read outside the block that it belongs to, where it is not perturbed "
            f"(loss {clean[0]:.6g}, with the tensor hidden {poisoned[0]:.6g}). {_REMEDY}"
        )

    def _numbers(self, active: frozenset[int]) -> bool:
        """Compares the pairs of a set at the smallest μ whose perturbation can be told from rounding, else at the
        largest at which the model itself has a number; whether one can be told."""
        trial: tuple[Perturbation, list[list[float]], float] | None = None
        clear = False
        still = [[start] * len(self._signs) for start in self._starts]
        if self._path.format != "compute" or self._path.shared_by:
            still = self._wanted(active, self._move(0.0))
        for scale in SCALES:
            move = self._move(scale)
            wanted = self._wanted(active, move)
            if not all(math.isfinite(loss) for losses in wanted for loss in losses):
                break
            pairs = (
                pair for after, before in zip(wanted, still, strict=True) for pair in zip(after, before, strict=True)
            )
            effect = max(abs(loss - start) for loss, start in pairs)
            allowed = self._allowed(active, move, wanted)
            trial = move, wanted, allowed
            clear = effect >= _CLEAR[self._model.compute] * allowed
            if clear:
                break
        if trial is not None:
            self._compare(active, *trial)
        return clear

    def _wanted(self, active: frozenset[int], move: Perturbation, rounded_in: bool = False) -> list[list[float]]:
        """The plain model's losses of each batch: of each sign, and of each group of examples."""
        return [
            [self._loss(batch, aim) for aim in self._aims(batch, active, move, rounded_in)] for batch in self._batches
        ]

    def _loss(self, batch: Batch, aim: _Aim) -> float:
        if aim.among == 1:
            return self._plain(batch, aim.step)
        sums, items = self._plain.rows(batch, aim.step)
        return float(sums[aim.rows].sum()) * aim.among / int(items.sum())

    def _aims(self, batch: Batch, active: frozenset[int], move: Perturbation, rounded_in: bool = False) -> list[_Aim]:
        """What a pair of a batch measures, in its order."""
        size, aims = move.shared_by or len(batch), []
        starts = range(0, len(batch), size)
        for sign in self._signs:
            for group, start in enumerate(starts):
                group_move = dataclasses.replace(move, direction=move.direction * max(1, move.groups) + group)
                step = self._step(active, group_move, sign, rounded_in)
                aims.append(_Aim(step, slice(start, start + size), len(starts)))
        return aims

    def _allowed(self, active: frozenset[int], move: Perturbation, wanted: list[list[float]]) -> float:
        """Difference that is rounding after a step."""
        allowed = self._tolerance
        if active == self._every or move.scale != SCALES[0]:
            step = self._step(active, move, 1.0)
            start = wanted[0][0] if not move.shared_by else self._plain(self._batches[0], step)
            allowed = max(allowed, _CHANGE * self._change(self._batches[0], start, step))
        # A low-rank step has a product of its own in 16 bits, rounded in another order than the plain model's: what an
        # order is worth is seen where the step is rounded into the weight.
        if self._model.rank and self._model.compute != torch.float32:
            other = self._wanted(active, move, rounded_in=True)
            changes = [abs(a - b) for losses in zip(wanted, other, strict=True) for a, b in zip(*losses, strict=True)]
            allowed = max(allowed, _CHANGE * max(changes))
        return allowed

    def _compare(self, active: frozenset[int], move: Perturbation, wanted: list[list[float]], allowed: float) -> None:
        answers = [("pair", [self._pairs([batch], active, move)[0] for batch in self._batches])]
        if self._path.together:
            answers.append(("pair of clients together", self._pairs(self._batches, active, move)))
        for what, pairs in answers:
            for batch, losses, plain in zip(self._batches, pairs, wanted, strict=True):
                within = max(allowed, self._rounding * max(map(abs, plain)))
                for loss, held, aim in zip(losses, plain, self._aims(batch, active, move), strict=True):
                    self._hold(what, batch, aim, loss, held, within)

    def _step(self, active: frozenset[int], move: Perturbation, sign: float, rounded_in: bool = False) -> PlainStep:
        return PlainStep(active, move, sign, rounded_in=rounded_in, format=self._path.format)

    def _move(self, scale: float) -> Perturbation:
        most = max(map(len, self._batches))
        groups = group_count(most, self._path.shared_by)
        return Perturbation(_SEED, 0, scale, self._path.distribution, shared_by=self._path.shared_by, groups=groups)

    def _pairs(self, batches: Sequence[Batch], active: frozenset[int], move: Perturbation) -> list[tuple[float, ...]]:
        prepared = [self._model.prepare(batch, active, self._path.signs) for batch in batches]
        if move.shared_by:
            return [tuple(self._model.example_losses(each, move).flat) for each in prepared]
        return self._model.losses(prepared, move)
