"""`completion` and `generation` of chats: the tokenizer's template writes them, the assistant's turns are learnt."""

import dataclasses

import numpy as np

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Cut, Split, TokenTable
from zorba_ray.data.list_columns import ASSISTANT, Chat, unanswered
from zorba_ray.errors import ConfigError, DataError
from zorba_ray.models import LoadedModel
from zorba_ray.printable import first_line
from zorba_ray.tasks.base import TaskRows, TokenSplit


class ChatRows(TaskRows):
    """A turn of the assistant is what its message adds to the chat with the template's invitation to answer."""

    def __init__(self, config: ExperimentConfig, loaded: LoadedModel) -> None:
        super().__init__(config, loaded)
        where = f"task.messages_column={self.task.messages_column}: the tokenizer of model.path={loaded.label}"
        if not getattr(self.tokenizer, "chat_template", None):
            raise ConfigError(
                f"{where} has no chat template; take an instruct model, or write the chats as text and set data.prompt "
                "and task.answer"
            )
        if not self.tokenizer.is_fast:
            raise ConfigError(
                f"{where} does not say which letters a token is of; take a model with a tokenizer.json, or write the "
                "chats as text and set data.prompt and task.answer"
            )

    def encode(self, split: Split, name: str) -> TokenSplit:
        assert split.chats is not None
        spans = [self._turns(chat, split.row(row, name)) for row, chat in enumerate(split.chats)]
        written = self.tokenizer([text for text, _ in spans], add_special_tokens=False, return_offsets_mapping=True)
        rows: list[list[int]] = []
        scored: list[list[bool]] = []
        last: list[list[str]] = []
        before, after, cut = 0, 0, 0
        for row, (_, turns) in enumerate(spans):
            letters = np.array(written["offset_mapping"][row], dtype=np.int64).reshape(-1, 2)
            ends = [_tokens_before(letters, end) for _, end in turns]
            starts = [_tokens_before(letters, start) for start, _ in turns]
            if None in (*starts, *ends):
                raise DataError(
                    f"task.messages_column: {split.row(row, name)}: the tokenizer joins a turn of the assistant "
                    "with what stands beside it, so that it cannot be said which tokens are the assistant's; take "
                    "a model whose template has marks between turns"
                )
            fits = [end for end in ends if end is not None and end <= self.data.max_length]
            if not fits:
                raise DataError(
                    f"data.max_length={self.data.max_length}: {split.row(row, name)} has {ends[0]} tokens up to the "
                    f"end of the assistant's first turn, and turns are never cut: set data.max_length to {ends[0]} or "
                    "more, or leave the row out"
                )
            if len(fits) < len(ends):
                cut, before, after = cut + 1, before + (ends[-1] or 0), after + fits[-1]
            marks = np.zeros(fits[-1], dtype=bool)
            for start, end in zip(starts, fits, strict=False):
                marks[start:end] = True
            if self.decoded:
                last.append([_answer_of(split.chats[row], len(fits), split.row(row, name))])
            rows.append(written["input_ids"][row][: fits[-1]])
            scored.append(marks.tolist())
        table = dataclasses.replace(TokenTable.from_lists(rows, split.labels, scored), references=last or None)
        return TokenSplit(table, Cut(cut, len(rows), before, after))

    def prompts(self, split: Split, name: str) -> TokenSplit:
        """As `encode`, of chats up to where the assistant is to speak, whoever spoke before."""
        assert split.chats is not None
        texts = [self._written(unanswered(chat), True, split.row(row, name)) for row, chat in enumerate(split.chats)]
        rows: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        self.require_tokens_of(rows, split, name)
        long = next((number for number, row in enumerate(rows) if len(row) > self.data.max_length), None)
        if long is not None:
            raise DataError(
                f"data.max_length={self.data.max_length}: {split.row(long, name)} has {len(rows[long])} tokens, and "
                "turns are never cut: leave its first turns out, or the row"
            )
        return TokenSplit(TokenTable.from_lists(rows, split.labels), Cut(0, len(rows), 0, 0))

    def _turns(self, chat: Chat, where: str) -> tuple[str, list[tuple[int, int]]]:
        """A chat up to its last turn of the assistant as text, and where each of its turns begins and ends in it.

        Raises:
            DataError: the template refuses the chat, or writes a turn otherwise as soon as another one follows.
        """
        numbers = [number for number, message in enumerate(chat, start=1) if message["role"] == ASSISTANT]
        text = self._written(chat[: numbers[-1]], False, where)
        turns = []
        for number in numbers:
            asked = self._written(chat[: number - 1], True, where)
            answered = self._written(chat[:number], False, where)
            if not text.startswith(answered) or not answered.startswith(asked) or len(answered) == len(asked):
                raise DataError(
                    f"task.messages_column: {where}: the chat template writes message {number} otherwise when others "
                    "follow it, so that it cannot be said which tokens are the assistant's; give each answer a row of "
                    "its own, or take a model with another template"
                )
            turns.append((len(asked), len(answered)))
        return text, turns

    def _written(self, chat: Chat, invited: bool, where: str) -> str:
        if not chat:  # an assistant that begins: templates write no chat without messages
            return ""
        try:
            return self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=invited)
        except MemoryError:
            raise
        except Exception as error:  # what a template's own code raises
            roles = ", ".join(message["role"] for message in chat[:6])
            raise DataError(
                f"task.messages_column: {where}: the chat template refuses the roles {roles}"
                f"{', …' if len(chat) > 6 else ''} ({first_line(error, 200)}); change their order, or leave the row out"
            ) from error


def _answer_of(chat: Chat, turn: int, where: str) -> str:
    """What the assistant says in its turn of this number, from 1, which a generation writes anew.

    Raises:
        DataError: it speaks twice in a row there, so that the template may not tell the turns apart.
    """
    number = [number for number, message in enumerate(chat) if message["role"] == ASSISTANT][turn - 1]
    if number and chat[number - 1]["role"] == ASSISTANT:
        raise DataError(
            f"task.messages_column: {where}: messages {number} and {number + 1} are both the assistant's, and a "
            "generation answers somebody else: join them, or leave the row out"
        )
    return chat[number]["content"]


def _tokens_before(letters: np.ndarray, letter: int) -> int | None:
    """How many tokens stand before a place in the text; None: one reaches across it.

    Args:
        letters: int64 [tokens, 2]: where each token begins and ends.
    """
    across = (letters[:, 0] < letter) & (letters[:, 1] > letter)
    return None if bool(across.any()) else int((letters[:, 0] < letter).sum())
