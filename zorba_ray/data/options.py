"""What may follow an example, of which one is right: label words of several tokens, or the options of a row.

An option is scored by the log-probability of all of its tokens. To read that of k tokens the model is given the prompt
and the first k − 1 of them. Options that begin alike share a sequence: words of one token all read the prompt's end.
"""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


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
        return cls(*_flat(flat), starts_of(rows))

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
        if self.firsts is None:
            return np.full(examples, lengths.max())
        return np.maximum.reduceat(lengths, self.firsts[:-1])


def _flat(options: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([token for option in options for token in option], dtype=np.int32), starts_of(options)


def starts_of(parts: Sequence[Sized]) -> np.ndarray:
    """int64 [n + 1]: where each part begins in all of them end to end."""
    return np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64)))


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
            head = next(number for number, head in enumerate(heads) if head[: len(option) - 1] == option[:-1])
            here = slice(0, len(option))
            tokens[row, column, here], real[row, column, here] = option, True
            spots[row, column, here, 0] = len(sequences) + head
            spots[row, column, here, 1] = len(prompt) - 1 + np.arange(len(option))
        sequences += [[*prompt.tolist(), *head] for head in heads]
    flat = spots[..., 0] * max(map(len, sequences)) + spots[..., 1]
    positions, read = np.unique(flat[real], return_inverse=True)
    read_BCL = np.zeros(shape, dtype=np.int64)
    read_BCL[real] = read
    return sequences, OptionArrays(positions, read_BCL, tokens, real)
