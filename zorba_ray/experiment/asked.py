"""What a trained model says: figures of splits or of a file, and predictions row by row."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.artifacts import Eval, PartitionRecord, RunDir, read_record, records_of
from zorba_ray.config import DECODED, ExperimentConfig
from zorba_ray.data import Cut, Split, clients_of, load_task, partition, partition_digest, read_rows
from zorba_ray.errors import DataError, LedgerError
from zorba_ray.experiment.build import table_digest
from zorba_ray.experiment.evaluate import Evaluator, evaluation_order, figures_of
from zorba_ray.experiment.examples import tokenised, tokenised_prompts, tokenised_splits
from zorba_ray.experiment.row_layout import shared_tables
from zorba_ray.experiment.row_texts import RowTexts, waiting_prompts
from zorba_ray.experiment.trained import Trained, task_settings, trained
from zorba_ray.models import Evaluation
from zorba_ray.printable import on_one_line
from zorba_ray.tasks import TokenSplit
from zorba_ray.tasks.reward_code import RewardCode, read_reward

_LOSS_ALONE = ("completion", "language_model")
"""Tasks that have nothing to predict, and whose loss needs the answer."""
_GIVEN = "test"
"""A file's intervals are drawn as those of this split, so that the same rows have the same ones."""


@dataclass(frozen=True)
class Evaluated:
    """The figures of some splits."""

    evals: Sequence[Eval]
    trained: Trained

    def recorded(self) -> dict[str, bool]:
        """By split that the run itself evaluated after this round: whether loss and accuracy were the same, to the
        bit."""
        run = self.trained.run
        past = {} if run is None else {(e.round, e.split): e for e in records_of(run.metrics, Eval)}
        both = [(own, past[own.round, own.split]) for own in self.evals if (own.round, own.split) in past]
        return {own.split: (own.loss, own.accuracy) == (old.loss, old.accuracy) for own, old in both}


@dataclass(frozen=True)
class Predicted:
    """What a model says to the rows of a file."""

    rows: Sequence[dict[str, Any]]
    """In the order of the file, JSON-ready: `row` from 1, `text`, `prediction`, and `scores` where the model chooses;
    of a task that has a loss alone `loss`, `perplexity` and `tokens`."""
    cut: Cut
    trained: Trained


def evaluate_model(
    source: str,
    round: int | None = None,
    data: Path | None = None,
    settings: ExperimentConfig | None = None,
    base: str | None = None,
    reward: RewardCode | None = None,
) -> Evaluated:
    """The figures of a model, as a run tells them: on its validation and test rows, or on those of a file.

    Args:
        source, round, settings, base: as of `trained`.
        reward: the code of `task.reward`, where the user allowed it; None is enough for one of this package.
        data: a file of rows with their right answers.

    Raises:
        ZorbaError: as `trained`, and what is wrong with the rows.
        LedgerError: the data are no longer those of the run.
        Diverged: a loss that is not finite.
    """
    config = task_settings(source, round, settings, base)
    if config.task_kind == "reward" and reward is None:
        reward = read_reward(str(config.task.reward), (), Path())
    given = None if data is None else _GivenRows(data, config, gold=True)
    model = trained(source, round, settings, base, reward)
    makers = _of_splits(model) if given is None else [_of_file(model, given)]
    return Evaluated([maker.record(model.round) for maker in makers], model)


def predict_rows(
    source: str,
    data: Path,
    round: int | None = None,
    settings: ExperimentConfig | None = None,
    base: str | None = None,
) -> Predicted:
    """What a model says to each row of a file, whose right answers are not read where there is something to predict.

    Args and raises as of `evaluate_model`.
    """
    config = task_settings(source, round, settings, base)
    given = _GivenRows(data, config, gold=config.row_kind in _LOSS_ALONE)
    model = trained(source, round, settings, base)
    tokens = given.tokens(model)
    asked = Evaluator(model.model, given.name, tokens.table)
    places = np.argsort(evaluation_order(tokens.table)).tolist()
    if given.unwritten:
        written, prompts = asked.written(), waiting_prompts(given.split, config)
        found = [
            {"row": row + 1, "text": prompts[row], "prediction": written[place]} for row, place in enumerate(places)
        ]
    else:
        found = list(_rows(config, given.split, asked.answers(model.round, scores=True), places))
    return Predicted(found, tokens.cut, model)


def _rows(
    config: ExperimentConfig, split: Split, answers: Evaluation, places: Sequence[int]
) -> Iterator[dict[str, Any]]:
    texts = RowTexts.of(split, config)
    for row, place in enumerate(places):
        said, scores = texts.answer(row, answers, place), texts.scores(row, answers, place)
        found: dict[str, Any] = {"row": row + 1, "text": texts.prompts[row], "prediction": said.text}
        if scores:
            yield found | {"scores": scores}
        else:
            perplexity = math.exp(said.loss) if said.loss < 700 else None
            yield found | {"loss": said.loss, "perplexity": perplexity, "tokens": said.items}


def _of_splits(model: Trained) -> list[Evaluator]:
    """Validation and test, as the run has them."""
    config = model.config
    task = load_task(config.data, config.seed, config.row_kind == "classification", config.task)
    train, validation, test = shared_tables(model.shared, tokenised(task, config, model.model.loaded).tables)
    clients = None
    if model.header is not None:
        parts = partition(config.data, config.federation.clients, task.train.labels, task.train.owners, config.seed)
        if (table_digest(train), partition_digest(parts)) != (model.header.data_sha256, model.header.partition_sha256):
            raise LedgerError(
                f"data.path={config.data.path} holds other training rows than the run had, so that its validation and "
                "test rows may be others too; put the data back, or name a file of rows with --data"
            )
        clients = clients_of(config.data, task.train, parts, task.validation, config.seed)[: len(validation)]
    return [
        Evaluator(
            model.model, "validation", validation, figures_of(config, "validation", validation, train.labels, clients)
        ),
        Evaluator(model.model, "test", test, figures_of(config, "test", test, train.labels)),
    ]


def _of_file(model: Trained, given: "_GivenRows") -> Evaluator:
    table = given.tokens(model).table
    figures = figures_of(model.config, _GIVEN, table, _training_labels(model.run))
    return Evaluator(model.model, given.name, table, figures)


class _GivenRows:
    """The rows of a file, read before a model is loaded. Messages name it as the program was told, not as data.path."""

    def __init__(self, file: Path, config: ExperimentConfig, gold: bool) -> None:
        """`gold`: with their right answers.

        Raises:
            DataError: as `read_rows`.
        """
        self.name = on_one_line(file.name)
        self.unwritten = not gold and config.row_kind in DECODED
        """Answers are to be written, and need not be there."""
        self._config = config.model_copy(update={"data": config.data.model_copy(update={"path": str(file)})})
        task = config.task.model_copy(update={"answer": None, "references_column": None} if self.unwritten else {})
        with _named_as_told():
            self.split = read_rows(file, config.data, config.row_kind == "classification", task, gold)

    def tokens(self, model: Trained) -> TokenSplit:
        """Raises ConfigError, DataError, ModelError: rows that model and tokenizer cannot serve."""
        with _named_as_told():
            if self.unwritten:
                return tokenised_prompts(self.split, self.name, self._config, model.model.loaded)
            tokens = tokenised_splits({self.name: self.split}, self._config, model.model.loaded)[self.name]
            return replace(tokens, table=shared_tables(model.shared, [tokens.table])[0])


@contextlib.contextmanager
def _named_as_told() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace("data.path=", "--data=")) from error


def _training_labels(run: RunDir | None) -> np.ndarray | None:
    """Labels of the training rows, int64, in no order; None where they are not on record."""
    if run is None or not run.partition.exists():
        return None
    known = read_record(run.partition, PartitionRecord).clients
    labels = [label for client in known for label in client]
    return np.repeat(labels, [rows for client in known for rows in client.values()])
