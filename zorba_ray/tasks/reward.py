"""`reward`: a function judges what the model answers; nothing else is learnt from."""

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from zorba_ray.data import Split, TokenTable
from zorba_ray.errors import RewardError
from zorba_ray.printable import first_line, on_one_line, shown
from zorba_ray.tasks.reward_code import RewardCode

LARGEST = 1e6
"""Of a reward's size: scalars are fp32, and of larger means they would keep too few digits."""


class Reward:
    """A reward as a run calls it: its answer is checked, and the first one of a process is asked for twice."""

    def __init__(self, code: RewardCode) -> None:
        """Runs the module of the reward.

        Raises:
            ConfigError: it cannot be run, or lacks the function.
        """
        self._name, self._function, self._repeated = code.name, code.load(), False

    def __call__(self, texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """The reward of each row, float64 [rows]; where several answers are right, of the one that gives the most.

        Raises:
            RewardError: the function raised, gave something else than one finite number per row, or another answer the
                second time; names the row.
        """
        counts = list(map(len, references))
        texts = [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]
        each = self._of_pairs(texts, [right for row in references for right in row])
        return np.maximum.reduceat(each, np.cumsum([0, *counts[:-1]]))

    def _of_pairs(self, texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
        rewards = self._called(texts, references)
        if not self._repeated:
            again = self._called(texts, references)
            if not np.array_equal(rewards, again):
                row = int(np.flatnonzero(rewards != again)[0])
                raise self._error(
                    f"asked twice, it gave {rewards[row]:g} and then {again[row]:g}",
                    texts, references, row,
                    "A client's answer must be the same however often it is asked for: take out what is drawn, "
                    "timed or remembered",
                )  # fmt: skip
            self._repeated = True
        return rewards

    def _called(self, texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
        try:
            given = self._function(list(texts), list(references))
        except MemoryError:
            raise
        except Exception as error:  # whatever code of others raises
            said = f"it raised {type(error).__name__}: {on_one_line(first_line(error, 300))}"
            raise self._error(
                said, texts, references, self._raising_row(texts, references),
                "Make it give a number for every text, an empty one too",
            ) from error  # fmt: skip
        remedy = f"Give a list of {len(texts)} finite numbers, one per text"
        try:
            values: list[Any] = list(given)
        except TypeError:
            raise self._error(f"it gave {shown(given)}, which is no list", texts, references, None, remedy) from None
        if len(values) != len(texts):
            raise self._error(f"it gave {len(values)} numbers for {len(texts)} texts", texts, references, None, remedy)
        for row, value in enumerate(values):
            if not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise self._error(f"it gave {shown(value)}", texts, references, row, remedy)
            if abs(float(value)) > LARGEST:
                raise self._error(
                    f"it gave {float(value):g}", texts, references, row,
                    f"Rewards of more than {LARGEST:g} lose digits in fp32: divide them",
                )  # fmt: skip
        return np.array([float(value) for value in values])

    def _raising_row(self, texts: Sequence[str], references: Sequence[str]) -> int | None:
        """The first row that the function raises at alone; None where it is none of them."""
        for row, (text, right) in enumerate(zip(texts, references, strict=True)):
            try:
                self._function([text], [right])
            except Exception:
                return row
        return None

    def _error(
        self, what: str, texts: Sequence[str], references: Sequence[str], row: int | None, remedy: str
    ) -> RewardError:
        where = f"a batch of {len(texts)} rows"
        if row is not None:
            where = f"row {row + 1} of {where}, text {shown(texts[row])}, reference {shown(references[row])}"
        return RewardError(f"task.reward={self._name}: {what} ({where}). {remedy}")


def with_texts(table: TokenTable, split: Split, words: Sequence[str]) -> TokenTable:
    """A split's tokens with the texts that its rows are answered with, and the right ones; where the model writes its
    answers the right ones are there already.

    Args:
        words: `data.label_words`, where rows have no options of their own.
    """
    if table.references is not None:
        return table
    choices = [words] * len(split) if split.options is None else split.options
    references = [(options[label],) for options, label in zip(choices, split.labels.tolist(), strict=True)]
    return dataclasses.replace(table, references=references, choices=choices)
