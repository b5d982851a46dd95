"""Validation and test on the driver's replica, and whether they show that the model was destroyed."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from zorba_ray.artifacts import Eval
from zorba_ray.config import ExperimentConfig
from zorba_ray.data import TokenTable, in_length_order
from zorba_ray.errors import Diverged
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.keeping import best_round, decides, ends_early, is_due
from zorba_ray.experiment.sampled_answers import AnswersFile
from zorba_ray.experiment.split_figures import SplitFigures
from zorba_ray.models import Batch, Evaluation, TaskModel
from zorba_ray.stopwatch import Watch
from zorba_ray.zo import FAR

COLLAPSED = 0.01
"""Of the start's spread: below it the logits no longer depend on the row."""
RISE = 1.0
"""Above the start's validation loss, in nats."""
IN_A_ROW = 3
"""Evaluations with such a loss."""
BATCH_SIZE = 64
"""Examples per batch."""


class Evaluator:
    """Fixed batches of one split, shortest first."""

    def __init__(self, model: TaskModel, split: str, table: TokenTable, figures: SplitFigures | None = None) -> None:
        """`figures`: what is told beside loss and accuracy; None: nothing."""
        self._model, self._split, self._figures = model, split, figures
        self._labels = len(np.unique(table.labels))
        pad = int(model.loaded.tokenizer.pad_token_id)
        self._batches = [
            Batch.of(*table.collate(rows, pad)).to(model.device) for rows in in_length_order(table.lengths, BATCH_SIZE)
        ]

    def answers(self, round: int, scores: bool = False) -> Evaluation:
        """The answers at θ after `round`, rows in the order of `evaluation_order`; `scores` as of `evaluate`.

        Raises:
            Diverged: the loss is not finite.
        """
        result = self._model.evaluate(self._batches, scores)
        if not result.loss < float("inf"):
            raise Diverged(
                f"round {round}: the {self._split} loss is {result.loss}; lower zo.lr, set zo.clip, or check the data"
            )
        return result

    def written(self) -> list[str]:
        """What the model writes behind each row, in the same order."""
        return [text for batch in self._batches for text in self._model.decode(batch)]

    def record(self, round: int, heard: Callable[[Evaluation], None] | None = None) -> Eval:
        """The record of an evaluation at θ after `round`; `heard` is given the answers, with their scores.

        Raises:
            Diverged: the loss is not finite.
        """
        start = time.perf_counter()
        result = self.answers(round, scores=heard is not None)
        if heard is not None:
            heard(result)
        label = None if result.predicted is None else int(np.argmax(result.predicted))
        figures = self._figures.of(result) if self._figures else {}
        return Eval(
            round=round,
            split=self._split,
            loss=result.loss,
            accuracy=result.accuracy,
            items=result.items,
            spread=result.spread,
            predicted_label=label,
            predicted_rows=None if result.predicted is None or label is None else result.predicted[label],
            labels=None if label is None else self._labels,
            eval_s=time.perf_counter() - start,
            **figures,
        )


def evaluation_order(table: TokenTable) -> np.ndarray:
    """Row numbers in the order in which an `Evaluator` takes them, int64 [rows]."""
    return np.concatenate(list(in_length_order(table.lengths, BATCH_SIZE)))


class Evaluations:
    """The evaluations of a run, each of which is made once, whatever the number of sessions."""

    def __init__(
        self,
        setup: Setup,
        past: Sequence[Eval],
        log: Callable[[Eval], None],
        watch: Watch,
        answers: AnswersFile | None = None,
    ) -> None:
        """`past`: the records of earlier sessions; `log` takes each new one; `answers` those to test rows."""
        self._config, self._log, self._watch, self._answers = setup.config, log, watch, answers
        labels = setup.shards.table.labels
        figures = {
            "validation": figures_of(setup.config, "validation", setup.validation, labels, setup.validation_clients),
            "test": figures_of(setup.config, "test", setup.test, labels),
        }
        self._evaluators = {
            split: Evaluator(setup.model, split, table, figures[split])
            for split, table in (("validation", setup.validation), ("test", setup.test))
        }
        self._records = {(record.round, record.split): record for record in past}

    def due(self, round: int) -> bool:
        """Whether the validation split is evaluated after `round`."""
        return is_due(self._config, round)

    def missing(self, last: int) -> list[int]:
        """Rounds up to `last` that `eval.keep` or `eval.patience` ask for and that are not on record, ascending."""
        rounds = range(1, last + 1) if decides(self._config.eval) else ()
        return [number for number in rounds if self.due(number) and (number, "validation") not in self._records]

    @property
    def best_round(self) -> int:
        """The round with the best `eval.metric` so far."""
        return best_round(self._config, self._validation())

    @property
    def end_early(self) -> bool:
        """Whether `eval.patience` is used up."""
        return ends_early(self._config, self._validation())

    def make(self, round: int, *splits: str) -> None:
        """Evaluates `splits` at θ after `round`, unless an earlier session did."""
        for split in splits:
            if (round, split) not in self._records:
                heard = self._answers.at(round) if self._answers and split == "test" else None
                with self._watch.part("evaluation"):
                    record = self._evaluators[split].record(round, heard)
                self._log(record)
                self._records[round, split] = record

    def require_a_model(self) -> None:
        """Raises Diverged: the last evaluations are those of a model that was destroyed."""
        if (text := divergence(self._validation())) is not None:
            raise Diverged(f"{text}; begin anew with a smaller {self._config.spec.steps_in}.lr")

    def _validation(self) -> list[Eval]:
        """By round."""
        return [self._records[key] for key in sorted(self._records) if key[1] == "validation"]


def figures_of(
    config: ExperimentConfig,
    split: str,
    table: TokenTable,
    training: np.ndarray | None,
    clients: np.ndarray | None = None,
) -> SplitFigures:
    """For an `Evaluator` of `table`; arguments as of `SplitFigures`, rows in the order of the table."""
    order, choices = evaluation_order(table), config.row_kind == "multiple_choice"
    homes = None if clients is None else clients[order]
    right = None if table.references is None else [table.references[int(row)] for row in order]
    return SplitFigures(
        split, config.seed, table.labels[order], training, homes, choices, references=right, scores=config.task.scores
    )


def require_near(round: int, distance: float, size: float) -> None:
    """Whether θ is still near θ0.

    Args:
        distance: ‖θ − θ0‖.
        size: ‖θ0‖ of the whole model.

    Raises:
        Diverged: further away than FAR times that.
    """
    if distance > FAR * size:
        raise Diverged(
            f"round {round}: the updates have moved the weights by {distance:.3g}, and the model itself has the length "
            f"{size:.3g}: nothing of it is left; begin anew with a much smaller rate"
        )


def collapsed(record: Eval, start: Eval) -> bool:
    """Whether the logits of an evaluation depend on the row less than COLLAPSED of how they did at the start."""
    before, now = start.spread, record.spread
    return before is not None and now is not None and now < COLLAPSED * before


def divergence(evals: Sequence[Eval]) -> str | None:
    """What the last evaluation, or the last IN_A_ROW, say of a destroyed model whose numbers are finite; None: nothing.

    Where a reward is learnt from, the loss may rise: a model that answers better may be surer of what it has wrong.

    Args:
        evals: records of the validation split by round, from the start's on, those of earlier sessions too.
    """
    if len(evals) < 2 or evals[0].round != 0:
        return None
    start, last = evals[0], evals[-1]
    if collapsed(last, start):
        return (
            f"round {last.round}: the logits no longer depend on the row: their spread over the validation rows is "
            f"{last.spread:.3g}, at the start {start.spread:.3g} (loss {last.loss:.4f}, at the start "
            f"{start.loss:.4f})"
        )
    recent = [record for record in evals[1:][-IN_A_ROW:] if record.reward is None]
    if len(recent) == IN_A_ROW and all(record.loss > start.loss + RISE for record in recent):
        losses = ", ".join(f"{record.loss:.4f} after round {record.round}" for record in recent)
        return (
            f"round {last.round}: the validation loss is more than {RISE:g} above the start's "
            f"{start.loss:.4f} at {IN_A_ROW} evaluations in a row: {losses}"
        )
    return None
