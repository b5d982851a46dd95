"""What may follow an example, of which one is right: label words of several tokens, or the options of a row.

An option is scored by the log-probability of all of its tokens. To read that of k tokens the model is given the prompt
and the first k − 1 of them. Options that begin alike share a sequence: words of one token all read the prompt's end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zorba_ray.data.table_file import DataTable
from zorba_ray.errors import DataError
from zorba_ray.printable import shown


class OptionArrays(NamedTuple):
    """Where the scores of a batch's options stand. L: tokens of the longest option; C: options of the longest row."""

    positions: np.ndarray
    """int64 [N]: places (sequence · T + position) whose next token is read."""
    read: np.ndarray
    """int64 [B, C, L]: for each token of an option, which of the N says how likely it is."""
    tokens: np.ndarray
    """int64 [B, C, L]."""
    real: np.ndarray
    """bool [B, C, L]: false behind an option's end, and where a row has fewer options."""


@dataclass(frozen=True)
class OptionTable:
    """Options of examples as tokens; option j is tokens[starts[j] : starts[j + 1]]."""

    tokens: np.ndarray
    """int32 [total]."""
    starts: np.ndarray
    """int64 [options + 1]."""
    firsts: np.ndarray | None
    """int64 [examples + 1]: example i has the options firsts[i] … firsts[i + 1] − 1; None: each has all of them."""

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[Sequence[int]]]) -> "OptionTable":
        """Options of each example."""
        flat = [option for row in rows for option in row]
        firsts = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
        return cls(*_flat(flat), firsts)

    @classmethod
    def shared(cls, options: Sequence[Sequence[int]]) -> "OptionTable":
        """The same options for every example."""
        return cls(*_flat(options), None)

    def of(self, example: int) -> list[tuple[int, ...]]:
        """Tokens of each option of an example."""
        begin, end = (0, len(self.starts) - 1) if self.firsts is None else self.firsts[example : example + 2]
        return [tuple(self.tokens[self.starts[j] : self.starts[j + 1]].tolist()) for j in range(begin, end)]

    @property
    def most(self) -> int:
        """C: options of the example that has the most."""
        return len(self.starts) - 1 if self.firsts is None else int(np.diff(self.firsts).max())

    @property
    def longest(self) -> int:
        """Tokens of the longest option."""
        return int(np.diff(self.starts).max())

    @property
    def most_sequences(self) -> int:
        """Sequences of the example that needs the most."""
        examples = 1 if self.firsts is None else len(self.firsts) - 1
        return max(len(sequence_heads(self.of(example))) for example in range(examples))

    def longest_of(self, examples: int) -> np.ndarray:
        """Tokens of the longest option of each example, int64 [examples]."""
        lengths = np.diff(self.starts)
        return (
            np.full(examples, lengths.max()) if self.firsts is None else np.maximum.reduceat(lengths, self.firsts[:-1])
        )


def _flat(options: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.concatenate(([0], np.cumsum([len(option) for option in options], dtype=np.int64)))
    return np.array([token for option in options for token in option], dtype=np.int32), starts


def sequence_heads(options: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """What follows the prompt in each sequence that is needed: all but the last token of an option, where no longer one
    begins so."""
    heads = list(dict.fromkeys(option[:-1] for option in options))
    return [head for head in heads if not any(other[: len(head)] == head for other in heads if len(other) > len(head))]


def expand(
    prompts: Sequence[np.ndarray], options: Sequence[Sequence[tuple[int, ...]]], most: int
) -> tuple[list[list[int]], OptionArrays]:
    """The sequences of a batch, row by row, and where its options are read; `most`: C."""
    sequences: list[list[int]] = []
    shape = len(prompts), most, max(len(option) for row in options for option in row)
    tokens, real = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    spots = np.zeros((*shape, 2), dtype=np.int64)
    for row, (prompt, choices) in enumerate(zip(prompts, options, strict=True)):
        heads = sequence_heads(choices)
        for column, option in enumerate(choices):
            head = next(place for place, head in enumerate(heads) if head[: len(option) - 1] == option[:-1])
            here = slice(0, len(option))
            tokens[row, column, here], real[row, column, here] = option, True
            spots[row, column, here, 0] = len(sequences) + head
            spots[row, column, here, 1] = len(prompt) - 1 + np.arange(len(option))
        sequences += [[*prompt.tolist(), *head] for head in heads]
    flat = spots[..., 0] * max(map(len, sequences)) + spots[..., 1]
    positions, read = np.unique(flat[real], return_inverse=True)
    found = np.zeros(shape, dtype=np.int64)
    found[real] = read
    return sequences, OptionArrays(positions, found, tokens, real)


def read_options(table: DataTable, column: str) -> list[list[str]]:
    """The options of each row.

    Raises:
        DataError: no list, fewer than two options, an option that is no text or empty, or two that are the same.
    """
    for row, options in enumerate(table.columns[column]):
        where = f"{table.row(row)}: column {shown(column)} (task.options_column)"
        if not isinstance(options, list):
            raise DataError(
                f"{where} holds {shown(options)} ({type(options).__name__}); write a list of text, in JSON or parquet"
            )
        if len(options) < 2:
            raise DataError(
                f"{where} has {len(options)} option(s); a choice needs two at least: add them, or leave the row out"
            )
        for place, option in enumerate(options):
            if not isinstance(option, str) or not option.strip():
                raise DataError(f"{where}: option {place} is {shown(option)}; write text, or leave the row out")
            if option in options[:place]:
                raise DataError(f"{where}: {shown(option)} stands twice; keep one, or leave the row out")
    return table.columns[column]


def right_options(table: DataTable, column: str, options: Sequence[Sequence[str]]) -> list[int]:
    """The position of each row's right option: as it stands, or of the option that reads so.

    Raises:
        DataError: none, beyond the options, or no option reads so.
    """
    places = []
    for row, (value, choices) in enumerate(zip(table.columns[column], options, strict=True)):
        where = f"{table.row(row)}: column {shown(column)} (data.label_column)"
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(value, str):
            if value not in choices:
                raise DataError(
                    f"{where}: {shown(value)} is none of the row's options; write one of them as it stands, or its "
                    "position, counted from 0"
                )
            places.append(choices.index(value))
        elif isinstance(number, int) and not isinstance(number, bool):
            if not 0 <= number < len(choices):
                raise DataError(
                    f"{where}: position {number} is beyond the row's {len(choices)} options (0 … {len(choices) - 1}, "
                    "counted from 0); correct it, or leave the row out"
                )
            places.append(number)
        else:
            raise DataError(
                f"{where} holds {shown(value)}; write the position of the right option, counted from 0, or its text"
            )
    return places
