"""The figures of one split beside loss and accuracy, each with its interval, from the answers to its rows."""

import math
from functools import cached_property
from typing import Any

import numpy as np

from zorba_ray.artifacts import Interval
from zorba_ray.metrics import confusion, counted_figures, label_counts, label_figures, percentiles, resamples
from zorba_ray.models import Evaluation
from zorba_ray.tables import wilson

MOST_LABELS = 100
"""Labels up to which a record holds the confusion matrix."""
_STREAMS = {"validation": 0, "test": 1}


class SplitFigures:
    """What does not change between the evaluations of a split."""

    def __init__(self, split: str, seed: int, gold: np.ndarray, training: np.ndarray) -> None:
        """`gold`: labels of the rows in the order of evaluation, int64 [rows]; `training`: those of the training rows.

        `seed`: of the run; the draws behind the intervals follow from it.
        """
        self._seed, self._stream = seed, _STREAMS[split]
        self._gold, self._most = gold, np.bincount(training).argmax()

    @cached_property
    def _majority(self) -> dict[str, float]:
        return label_figures(self._gold, np.full_like(self._gold, self._most))

    def of(self, result: Evaluation) -> dict[str, Any]:
        """The fields of `Eval` that an evaluation's rows tell, beside loss and accuracy."""
        sampled = self._sampled(result)
        fields: dict[str, Any] = {"rows": len(result.row_items)}
        if result.row_labels is None or result.predicted is None:
            fields["perplexity"] = _perplexity(result.loss)
            sampled["perplexity"] = np.array([_perplexity(loss) or math.inf for loss in sampled["loss"]])
        else:
            figures = label_figures(self._gold, result.row_labels)
            figures.pop("accuracy")  # the evaluation has it
            fields |= figures | {"majority": self._majority}
            if len(result.predicted) <= MOST_LABELS:
                matrix = confusion(self._gold, result.row_labels, len(result.predicted))
                fields["confusion"] = tuple(map(tuple, matrix.tolist()))
        spans = {name: percentiles(values) for name, values in sampled.items()}
        if result.accuracy is not None:  # a share of rows has an interval that holds where all of them are right, too
            spans["accuracy"] = wilson(result.accuracy, result.items)
        return fields | {"intervals": {name: Interval(low=s[0], high=s[1]) for name, s in spans.items() if s}}

    def _sampled(self, result: Evaluation) -> dict[str, np.ndarray]:
        """Figures of rows drawn with replacement: float64 [draws] each."""
        losses, counts, given = [], [], result.row_labels
        for rows in resamples(self._seed, self._stream, len(result.row_items)):
            losses.append(result.row_losses[rows].sum() / result.row_items[rows].sum())
            if given is not None:
                counts.append(label_counts(self._gold[rows], given[rows], len(result.predicted or ())))
        return {"loss": np.array(losses), **(counted_figures(np.stack(counts)) if counts else {})}


def _perplexity(loss: float) -> float | None:
    """exp(loss); None where that is no number."""
    return math.exp(loss) if loss < math.log(np.finfo(np.float64).max) else None
