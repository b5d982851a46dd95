"""`multiple_choice`: a row is a prompt with options of its own, one of which is right."""

import dataclasses

from zorba_ray.data import OptionTable, Split, TokenTable
from zorba_ray.errors import DataError
from zorba_ray.models.answer_tokens import end_of
from zorba_ray.printable import shown
from zorba_ray.tasks.base import AnswerRows, TokenSplit


class MultipleChoiceRows(AnswerRows):
    """Prompts up to where an option begins, and the tokens of each option after its prompt."""

    def encode(self, split: Split, name: str) -> TokenSplit:
        assert split.options is not None
        choices = [[option.lstrip(" ") for option in row] for row in split.options]
        rows = [row for row, options in enumerate(choices) for _ in options]
        options = [option for row in choices for option in row]
        encoded = self.encoded_prompts(split, name, self.end.encode, self._longest(choices, split, name))
        tokens: list[list[tuple[int, ...]]] = [[] for _ in choices]
        asked = self.end.answered([encoded.texts[row] for row in rows], options)
        for row, option, ids in zip(rows, options, asked, strict=True):
            prompt = encoded.tokens[row]
            if ids[: len(prompt)] != prompt or len(ids) == len(prompt):
                raise DataError(
                    f"data.prompt: {split.row(row, name)} ({end_of(encoded.texts[row])}) with option {shown(option)} "
                    "after it: the tokenizer writes the end of the prompt otherwise than in the prompt alone, or gives "
                    "the option no token. End data.prompt with words of its own, as in '{question}\\nAnswer:', or "
                    "leave the row out"
                )
            written = tuple(ids[len(prompt) :])
            if written in tokens[row]:
                raise DataError(
                    f"task.options_column: {split.row(row, name)}: the tokenizer writes two options as {shown(option)}"
                    " is written, so that they cannot be told apart; take another model, or leave the row out"
                )
            tokens[row].append(written)
            if len(ids) - 1 > self.data.max_length:
                raise self.too_long("an option", split.row(row, name), len(written), len(prompt))
        table = TokenTable.from_lists(encoded.tokens, split.labels)
        return TokenSplit(dataclasses.replace(table, options=OptionTable.from_lists(tokens)), encoded.cut)

    def _longest(self, choices: list[list[str]], split: Split, name: str) -> list[int]:
        """Tokens that each row's longest option puts behind the prompt: all but its last, which is never read.

        Raises:
            DataError: an option that is longer than a row may be.
        """
        lengths, prompt = self.answer_lengths([option for row in choices for option in row])
        each = iter(lengths)
        longest = [max(next(each) for _ in row) for row in choices]
        for row, length in enumerate(longest):
            if prompt + length - 1 > self.data.max_length:
                raise self.too_long("an option", split.row(row, name), length, prompt)
        return [max(0, length - 1) for length in longest]
