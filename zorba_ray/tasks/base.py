"""What the tasks share: a split's rows become tokens, cut where they are too long."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.config import DECODED, ExperimentConfig
from zorba_ray.data import Cut, Split, TokenTable, encode_rows
from zorba_ray.errors import DataError
from zorba_ray.models import LoadedModel


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

    def require_tokens_of(self, rows: Sequence[Sequence[int]], split: Split, name: str) -> None:
        """Raises DataError: a row with fewer tokens than `least`."""
        short = next((place for place, row in enumerate(rows) if len(row) < self.least), None)
        if short is not None:
            raise DataError(
                f"data.path={self.data.path}: {split.row(short, name)} has fewer than {self.least} token(s); drop "
                "empty texts"
            )


class PromptRows(TaskRows):
    """The prompt as the tokenizer writes it, its special tokens too."""

    def encode(self, split: Split, name: str) -> TokenSplit:
        encoded = encode_rows(
            split.columns, self.data.prompt, lambda texts: self.tokenizer(texts)["input_ids"], self.data.max_length
        )
        self.require_tokens_of(encoded.tokens, split, name)
        return TokenSplit(TokenTable.from_lists(encoded.tokens, split.labels), encoded.cut)
