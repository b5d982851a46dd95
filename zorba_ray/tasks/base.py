"""What the tasks share: a split's rows become tokens, cut where they are too long."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.config import DECODED, ExperimentConfig
from zorba_ray.data import Cut, EncodedRows, Split, TokenTable, encode_rows
from zorba_ray.data.prompts import Encode
from zorba_ray.errors import DataError
from zorba_ray.models import LoadedModel
from zorba_ray.models.answer_tokens import read_prompt_end, short_prompt


@dataclass(frozen=True)
class TokenSplit:
    """A split as the model sees it."""

    table: TokenTable
    cut: Cut


class TaskRows(ABC):
    """How the rows of one task become tokens of one model."""

    least = 1
    """Tokens that a row has at least."""

    def __init__(self, config: ExperimentConfig, loaded: LoadedModel) -> None:
        self.data, self.task, self.tokenizer = config.data, config.task, loaded.tokenizer
        self.decoded = config.row_kind in DECODED
        """Whether the model writes answers, which are scored."""

    @abstractmethod
    def encode(self, split: Split, name: str) -> TokenSplit:
        """Tokens of a split's rows, at most `data.max_length` each.

        Args:
            name: of the split, for messages.

        Raises:
            DataError: names the first row that cannot serve.
        """

    def prompts_alone(self, split: Split, name: str, encode: Encode) -> TokenSplit:
        """As `encode`, of rows that are their prompts."""
        encoded = self.encoded_prompts(split, name, encode)
        return TokenSplit(TokenTable.from_lists(encoded.tokens, split.labels), encoded.cut)

    def encoded_prompts(self, split: Split, name: str, encode: Encode, following: Sequence[int] = ()) -> EncodedRows:
        """The prompts of a split, as of `encode_rows`, each with `least` tokens."""
        encoded = encode_rows(split.columns, self.data.prompt, encode, self.data.max_length, following)
        self.require_tokens_of(encoded.tokens, split, name)
        return encoded

    def require_tokens_of(self, rows: Sequence[Sequence[int]], split: Split, name: str) -> None:
        """Raises DataError: a row with fewer tokens than `least`."""
        short = next((row for row, tokens in enumerate(rows) if len(tokens) < self.least), None)
        if short is not None:
            raise DataError(
                f"data.path={self.data.path}: {split.row(short, name)} has fewer than {self.least} token(s); drop "
                "empty texts"
            )


class PromptRows(TaskRows):
    """The prompt as the tokenizer writes it, its special tokens too."""

    def encode(self, split: Split, name: str) -> TokenSplit:
        return self.prompts_alone(split, name, lambda texts: self.tokenizer(texts)["input_ids"])


class AnswerRows(TaskRows):
    """Prompts up to where an answer begins, and what the tokenizer writes for answers behind them."""

    def __init__(self, config: ExperimentConfig, loaded: LoadedModel) -> None:
        super().__init__(config, loaded)
        self.end = read_prompt_end(self.tokenizer, self.data.prompt)

    def answer_lengths(self, answers: Sequence[str]) -> tuple[list[int], int]:
        """(tokens of each answer behind a short prompt, tokens of the prompt's own words)."""
        before = short_prompt(self.data.prompt)
        (prompt,), (bare,) = (self.end.encode([text]) for text in (before, short_prompt(self.data.prompt, "")))
        return [len(row) - len(prompt) for row in self.end.answered([before] * len(answers), answers)], len(bare)

    def too_long(self, what: str, row: str, answer: int, prompt: int) -> DataError:
        """The error for a row that its answer makes too long; `what`: "the answer" or "an option"."""
        return DataError(
            f"data.max_length={self.data.max_length}: {what} of {row} has {answer} tokens, and the prompt {prompt} "
            f"even without its columns. {what.split()[-1].capitalize()}s are never cut: set data.max_length to "
            f"{answer + prompt} or more, or leave the row out"
        )
