"""The task's texts as tokens that the model can take, and what was cut to make them so."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.config import DECODED, ExperimentConfig
from zorba_ray.data import SPLITS, Cut, Split, Task, TokenTable
from zorba_ray.metrics import require_scorable
from zorba_ray.models import LoadedModel
from zorba_ray.models.limits import require_length, require_positions, require_room, require_tokens
from zorba_ray.tasks import TokenSplit, rows_of
from zorba_ray.tasks.chat import ChatRows
from zorba_ray.tasks.classification import LabelWordRows
from zorba_ray.tasks.completion import CompletionRows
from zorba_ray.tasks.reward import with_texts


@dataclass(frozen=True)
class Examples:
    """Train, validation and test."""

    tables: Sequence[TokenTable]
    cuts: dict[str, Cut]
    """By split."""


def tokenised(task: Task, config: ExperimentConfig, loaded: LoadedModel) -> Examples:
    """Tokens of the three splits, which the model can take.

    Raises:
        ConfigError, DataError, ModelError: texts, answers or lengths that model and tokenizer cannot serve.
    """
    splits = tokenised_splits(dict(zip(SPLITS, _limited(task, config), strict=True)), config, loaded)
    return Examples([split.table for split in splits.values()], {name: split.cut for name, split in splits.items()})


def tokenised_splits(
    named: Mapping[str, Split], config: ExperimentConfig, loaded: LoadedModel
) -> dict[str, TokenSplit]:
    """`tokenised`, of any splits by their names."""
    rows = rows_of(config, loaded)
    splits = {name: rows.encode(split, name) for name, split in named.items()}
    if config.task_kind == "reward":
        words = config.data.label_words
        splits = {
            name: dataclasses.replace(split, table=with_texts(split.table, named[name], words))
            for name, split in splits.items()
        }
    scored = [token for word in rows.words.options for token in word] if isinstance(rows, LabelWordRows) else []
    if config.task_kind == "generation" and (train := splits.get("train")):  # whose answers nobody scores
        splits["train"] = dataclasses.replace(train, table=dataclasses.replace(train.table, references=None))
    for name, split in splits.items() if config.row_kind in DECODED else ():
        require_scorable(split.table.references or (), config.task.scores, name)
    _require_limits(config, loaded, [split.table for split in splits.values()], scored)
    return splits


def tokenised_prompts(split: Split, name: str, config: ExperimentConfig, loaded: LoadedModel) -> TokenSplit:
    """`tokenised`, of rows whose answers are to be written: their prompts alone."""
    rows = rows_of(config, loaded)
    assert isinstance(rows, CompletionRows | ChatRows)
    found = rows.prompts(split, name)
    _require_limits(config, loaded, [found.table], [])
    return found


def _limited(task: Task, config: ExperimentConfig) -> tuple[Split, Split, Split]:
    if config.eval.rows is None:
        return task.train, task.validation, task.test
    validation, test = (
        split.take(np.arange(min(config.eval.rows, len(split)))) for split in (task.validation, task.test)
    )
    return task.train, validation, test


def _require_limits(
    config: ExperimentConfig, loaded: LoadedModel, tables: Sequence[TokenTable], scored: Sequence[int]
) -> None:
    """Whether the model takes the tokens and the lengths of the data and of the label words.

    Args:
        scored: tokens of label words, as they stand after the prompt.

    Raises:
        ConfigError, ModelError: it does not.
    """
    length = config.data.max_length
    require_positions(loaded, length)
    told = config.data.label_words if config.row_kind == "classification" else ()
    words: list[list[int]] = loaded.tokenizer(list(told))["input_ids"] if told else []
    highest = {"the texts": max(int(table.tokens.max()) for table in tables)}
    if words:
        highest["data.label_words"] = max(scored or [max(row, default=0) for row in words])
    if options := [int(table.options.tokens.max()) for table in tables if table.options is not None]:
        highest["the options"] = max(options)
    require_tokens(loaded, highest)
    require_length(loaded, max(int(table.lengths.max()) for table in tables), f"data.max_length={length}")
    if config.row_kind in DECODED:
        asked = [table for table in tables if table.references is not None] or tables
        longest = max(int(table.prompt_lengths.max()) for table in asked)
        require_room(loaded, longest, config.task.max_new_tokens)
    if words and not loaded.causal:
        require_length(loaded, max(len(row) for row in words), "data.label_words")
