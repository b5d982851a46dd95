"""What an evaluation says of a model, in all and row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

_PIECE = 1 << 22
"""Most logits that are processed at once; a language model has many."""


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy (None for the LM head) over `items` examples or tokens."""

    loss: float
    accuracy: float | None
    items: int
    spread: float
    """How much the logits depend on the item (`LogitSpread`)."""
    predicted: tuple[int, ...] | None
    """Items by predicted label; None for the LM head."""
    row_losses: np.ndarray = field(compare=False)
    """Loss of each row, its items added up: float64 [rows], in the order of the batches. So the next two."""
    row_items: np.ndarray = field(compare=False)
    """int64 [rows]."""
    row_labels: np.ndarray | None = field(compare=False)
    """Predicted label of each row, int64 [rows]; None for the LM head."""
    row_scores: np.ndarray | None = field(default=None, compare=False)
    """Probability of each label or option, float64 [rows, C], 0 where a row has fewer; None for the LM head, and where
    they were not asked for."""
    row_texts: tuple[str, ...] | None = field(default=None, compare=False)
    """What the model writes behind the prompt of each row; None of a task that writes nothing."""
    row_rewards: np.ndarray | None = field(default=None, compare=False)
    """Reward of each row, float64 [rows]; None where the task is no reward."""


class LogitSpread:
    """How much logits depend on the item: mean over classes of their standard deviation over items. First each item's
    mean logit is subtracted, as a shift of all of its logits changes nothing.

    Means and sums of squares are merged batch by batch (Chan, Golub and LeVeque, 1979), in float64.
    """

    def __init__(self) -> None:
        self._items = 0
        self._mean_C = torch.zeros(())
        self._squares_C = torch.zeros(())

    def add(self, logits: torch.Tensor) -> None:
        """Logits [items, C] of a batch."""
        for part in logits.split(max(1, _PIECE // logits.shape[1])):
            logits_IC = part.double()
            if bool((absent := logits_IC == -torch.inf).any()):  # an item with fewer options: use its mean logit
                logits_IC = logits_IC.masked_fill(absent, torch.nan)
                logits_IC = torch.where(absent, logits_IC.nanmean(dim=1, keepdim=True), logits_IC)
            logits_IC -= logits_IC.mean(dim=1, keepdim=True)
            count, mean_C = len(logits_IC), logits_IC.mean(dim=0)
            squares_C = ((logits_IC - mean_C) ** 2).sum(dim=0)
            if not self._items:
                self._items, self._mean_C, self._squares_C = count, mean_C, squares_C
                continue
            step_C, both = mean_C - self._mean_C, self._items + count
            self._squares_C += squares_C + step_C**2 * (self._items * count / both)
            self._mean_C += step_C * (count / both)
            self._items = both

    def value(self) -> float:
        """The spread of all logits that were added."""
        return float((self._squares_C / self._items).sqrt().mean())


class EvaluationSums:
    """What batches say, one after another, and the evaluation of all of them."""

    def __init__(self, scores: bool) -> None:
        """`scores`: with `row_scores`."""
        self._scores = scores
        self._total, self._right, self._classes, self._spread = 0.0, 0, 0, LogitSpread()
        self._losses: list[torch.Tensor] = []
        self._items: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []
        self._likely: list[torch.Tensor] = []
        self._texts: list[str] = []
        self._rewards: list[np.ndarray] = []

    def add(
        self,
        logits: torch.Tensor,
        losses: torch.Tensor,
        right: torch.Tensor | None,
        row_items: torch.Tensor,
        texts: Sequence[str],
        rewards: np.ndarray | None,
    ) -> None:
        """A batch: `Head.logits`, `Head.losses_of`, `Head.row_items`, and its written answers and rewards, if any."""
        self._total += float(losses.double().sum())
        self._spread.add(logits)
        self._losses.append(losses)
        self._items.append(row_items)
        self._texts += texts
        if rewards is not None:
            self._rewards.append(rewards)
        if right is not None:
            self._right += int(right.sum())
            self._classes = logits.shape[1]
            self._labels.append(logits.argmax(dim=1))
            if self._scores:
                self._likely.append(torch.softmax(logits.double(), dim=1).cpu())

    def evaluation(self) -> Evaluation:
        """Of all batches."""
        row_items = torch.cat(self._items).cpu().numpy()
        items, row_of_item = int(row_items.sum()), np.repeat(np.arange(len(row_items)), row_items)
        labels = torch.cat(self._labels).cpu().numpy() if self._labels else None
        return Evaluation(
            loss=self._total / items,
            accuracy=None if labels is None else self._right / items,
            items=items,
            spread=self._spread.value(),
            predicted=None if labels is None else tuple(np.bincount(labels, minlength=self._classes).tolist()),
            row_losses=np.bincount(row_of_item, torch.cat(self._losses).double().cpu().numpy(), len(row_items)),
            row_items=row_items,
            row_labels=labels,
            row_scores=torch.cat(self._likely).numpy() if self._likely else None,
            row_texts=tuple(self._texts) or None,
            row_rewards=np.concatenate(self._rewards) if self._rewards else None,
        )
