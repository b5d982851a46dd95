"""The figures of one split beside loss and accuracy, each with its interval, from the answers to its rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from zorba_ray.artifacts import ClientRange, Interval
from zorba_ray.metrics import (
    SHARES,
    confusion,
    counted_figures,
    label_counts,
    label_figures,
    percentiles,
    resamples,
    text_scores,
)
from zorba_ray.models import Evaluation
from zorba_ray.tables import wilson

MOST_LABELS = 100
"""Labels up to which a record holds the confusion matrix."""
_STREAMS = {"validation": 0, "test": 1}


class SplitFigures:
    """What does not change between the evaluations of a split."""

    def __init__(
        self,
        split: str,
        seed: int,
        gold: np.ndarray,
        training: np.ndarray | None,
        clients: np.ndarray | None = None,
        own_options: bool = False,
        references: Sequence[Sequence[str]] | None = None,
        scores: Sequence[str] = (),
    ) -> None:
        """Of the rows in the order of evaluation.

        Args:
            seed: of the run; the draws behind the intervals follow from it.
            gold: labels of the rows, int64 [rows].
            training: labels of the training rows, int64; None: not known, and with it the majority class.
            clients: the client of each row, int64 [rows], −1 for nobody's; None: of all rows.
            own_options: each row has options of its own, and a label is a position among them. Rows then share no
                classes, and accuracy is all that labels tell.
            references: right answers of each row, where the model writes answers.
            scores: what these are scored by.
        """
        self._seed, self._stream = seed, _STREAMS[split]
        self._own_options = own_options
        self._references, self._scores = references, scores
        self._gold, self._most = gold, None if training is None else int(np.bincount(training).argmax())
        homes = np.full(len(gold), -1) if clients is None else clients
        self._of_client = [np.flatnonzero(homes == client) for client in np.unique(homes[homes >= 0])]

    @cached_property
    def _majority(self) -> dict[str, float]:
        if self._most is None:
            return {}
        return label_figures(self._gold, np.full_like(self._gold, self._most))

    def of(self, result: Evaluation) -> dict[str, Any]:
        """The fields of `Eval` that an evaluation's rows tell, beside loss and accuracy."""
        written = self._written(result)
        sampled = self._of_samples(result, written, resamples(self._seed, self._stream, len(result.row_items)))
        fields: dict[str, Any] = {"rows": len(result.row_items)}
        fields |= {name: float(values.mean()) for name, values in written.items()}
        if result.row_labels is None or result.predicted is None:
            perplexity = float(_perplexities(np.array(result.loss)))
            fields["perplexity"] = perplexity if math.isfinite(perplexity) else None
        elif not self._own_options:
            figures = label_figures(self._gold, result.row_labels)
            figures.pop("accuracy")  # the evaluation has it
            fields |= figures | {"majority": self._majority}
            if len(result.predicted) <= MOST_LABELS:
                matrix = confusion(self._gold, result.row_labels, len(result.predicted))
                fields["confusion"] = tuple(map(tuple, matrix.tolist()))
        spans = {name: percentiles(values) for name, values in sampled.items()}
        if result.accuracy is not None:  # a share of rows has an interval that holds where all of them are right, too
            spans["accuracy"] = wilson(result.accuracy, result.items)
        spans |= {name: wilson(fields[name], len(written[name])) for name in SHARES if name in written}
        fields["intervals"] = {name: Interval(low=s[0], high=s[1]) for name, s in spans.items() if s}
        return fields | self._by_client(result, written)

    def _written(self, result: Evaluation) -> dict[str, np.ndarray]:
        """The scores of the answers that were written, and rewards, by row: float64 [rows] each."""
        scores: dict[str, np.ndarray] = {}
        if result.row_texts is not None and self._references is not None:
            scores |= text_scores(result.row_texts, self._references, self._scores)
        return scores if result.row_rewards is None else scores | {"reward": result.row_rewards}

    def _by_client(self, result: Evaluation, written: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """`clients` and `by_client`; nothing where no row is with a client."""
        if not self._of_client:
            return {}
        figures = self._of_samples(result, written, self._of_client) | {
            "rows": np.array(list(map(len, self._of_client)))
        }
        figures.pop("mcc", None)  # 0 for a client whose rows have one label
        ranges = {
            name: ClientRange(min=float(values.min()), median=float(np.median(values)), max=float(values.max()))
            for name, values in figures.items()
            if np.isfinite(values).all()
        }
        return {"clients": len(self._of_client), "by_client": ranges}

    def _of_samples(
        self, result: Evaluation, written: Mapping[str, np.ndarray], samples: Iterable[np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Loss, scores, and figures of labels or perplexity, of samples of the rows: float64 [samples] each."""
        losses, counts, given = [], [], result.row_labels
        scores: dict[str, list[float]] = {name: [] for name in written}
        for rows in samples:
            losses.append(result.row_losses[rows].sum() / result.row_items[rows].sum())
            for name, values in written.items():
                scores[name].append(values[rows].mean())
            if given is not None:
                counts.append(label_counts(self._gold[rows], given[rows], len(result.predicted or ())))
        means = np.array(losses)
        figures = counted_figures(np.stack(counts)) if counts else {"perplexity": _perplexities(means)}
        return (
            {"loss": means}
            | {name: np.array(values) for name, values in scores.items()}
            | {name: values for name, values in figures.items() if name == "accuracy" or not self._own_options}
        )


def _perplexities(losses: np.ndarray) -> np.ndarray:
    """exp(loss), ∞ where that is no number."""
    with np.errstate(over="ignore"):
        return np.exp(losses)
