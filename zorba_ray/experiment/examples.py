"""The task's texts as tokens that the model can take, and what was cut to make them so."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import SPLITS, Cut, Split, Task, TokenTable, encode_rows, prompt_tail
from zorba_ray.errors import DataError
from zorba_ray.models import LoadedModel
from zorba_ray.models.label_tokens import read_label_tokens
from zorba_ray.models.limits import require_length, require_positions, require_tokens


@dataclass(frozen=True)
class Examples:
    """Train, validation and test."""

    tables: Sequence[TokenTable]
    cuts: dict[str, Cut]
    """By split."""
    first_tokens: dict[str, str]
    """Label word -> the text of its first token, of words of which only that is scored."""


def tokenised(task: Task, config: ExperimentConfig, loaded: LoadedModel) -> Examples:
    """Tokens of the three splits, which the model can take.

    Where label words are scored, rows end where the word begins, and that it follows there is checked.

    Raises:
        ConfigError, DataError, ModelError: texts, label words or lengths that model and tokenizer cannot serve.
    """
    tokenizer, template, words = loaded.tokenizer, config.data.prompt, config.data.label_words
    answers = read_label_tokens(tokenizer, template, words) if loaded.causal and config.model.head != "lm" else None

    def encode(texts: list[str]) -> list[list[int]]:
        return tokenizer(texts)["input_ids"] if answers is None else answers.encode(texts)

    least = 2 if config.model.head == "lm" else 1  # a next token, or anything to pool
    tables, cuts = [], {}
    for name, split in zip(SPLITS, _limited(task, config), strict=True):
        encoded = encode_rows(split.columns, template, encode, config.data.max_length)
        short = next((place for place, row in enumerate(encoded.tokens) if len(row) < least), None)
        if short is not None:
            raise DataError(
                f"data.path={config.data.path}: row {short + 1} of {name} has fewer than {least} token(s); drop empty "
                "texts"
            )
        if answers is not None:
            every = not prompt_tail(template).strip()
            answers.check_rows(encoded.texts, encoded.tokens, every, name)
        tables.append(TokenTable.from_lists(encoded.tokens, split.labels))
        cuts[name] = encoded.cut
    _require_limits(config, loaded, tables, () if answers is None else answers.tokens)
    return Examples(tables, cuts, {} if answers is None else answers.first_tokens())


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
    words: list[list[int]] = (
        loaded.tokenizer(list(config.data.label_words))["input_ids"] if config.data.label_words else []
    )
    highest = {"the texts": max(int(table.tokens.max()) for table in tables)}
    if words:
        highest["data.label_words"] = max(scored or [max(row, default=0) for row in words])
    require_tokens(loaded, highest)
    require_length(loaded, max(int(table.lengths.max()) for table in tables), f"data.max_length={length}")
    if words and not loaded.causal:
        require_length(loaded, max(len(row) for row in words), "data.label_words")
