"""`completion` of chats: the tokenizer's own template writes them, and the assistant's turns are learnt."""

from collections.abc import Sequence

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Cut, Split, TokenTable
from zorba_ray.data.chats import ASSISTANT, Chat
from zorba_ray.errors import ConfigError, DataError
from zorba_ray.models import LoadedModel
from zorba_ray.printable import first_line
from zorba_ray.tasks.base import TaskRows, TokenSplit


class ChatRows(TaskRows):
    """A turn of the assistant is what its message adds to the chat with the template's invitation to answer."""

    def __init__(self, config: ExperimentConfig, loaded: LoadedModel) -> None:
        super().__init__(config, loaded)
        if not getattr(self.tokenizer, "chat_template", None):
            raise ConfigError(
                f"task.messages_column={self.task.messages_column}: the tokenizer of model.path={loaded.label} has no "
                "chat template; take an instruct model, or write the chats as text and set data.prompt and task.answer"
            )

    def encode(self, split: Split, name: str) -> TokenSplit:
        assert split.chats is not None
        rows: list[list[int]] = []
        scored: list[list[bool]] = []
        before, after, cut = 0, 0, 0
        for place, chat in enumerate(split.chats):
            turns = [turn for turn, message in enumerate(chat, start=1) if message["role"] == ASSISTANT]
            ids, marks, ends = self._read(chat, turns, f"row {place + 1} of {name}")
            fits = [end for end in ends if end <= self.data.max_length]
            if not fits:
                raise DataError(
                    f"data.max_length={self.data.max_length}: row {place + 1} of {name} has {ends[0]} tokens up to the "
                    f"end of the assistant's first turn, and turns are never cut: set data.max_length to {ends[0]} or "
                    "more, or leave the row out"
                )
            if fits[-1] < ends[-1]:
                cut, before, after = cut + 1, before + ends[-1], after + fits[-1]
            rows.append(ids[: fits[-1]])
            scored.append(marks[: fits[-1]])
        table = TokenTable.from_lists(rows, split.labels, scored)
        return TokenSplit(table, Cut(cut, len(rows), before, after))

    def _read(self, chat: Chat, turns: Sequence[int], where: str) -> tuple[list[int], list[bool], list[int]]:
        """Tokens of a chat up to its last turn of the assistant, which of them are the assistant's, and where each of
        its turns ends.

        Raises:
            DataError: the template refuses the chat, or writes a turn otherwise as soon as another one follows.
        """
        ids = self._written(chat[: turns[-1]], False, where)
        marks, ends = [False] * len(ids), []
        for turn in turns:
            asked = self._written(chat[: turn - 1], True, where)
            answered = self._written(chat[:turn], False, where)
            if ids[: len(answered)] != answered or answered[: len(asked)] != asked or len(answered) == len(asked):
                raise DataError(
                    f"task.messages_column: {where}: the chat template writes message {turn} otherwise when others "
                    "follow it, so that it cannot be said which tokens are the assistant's; give each answer a row of "
                    "its own, or take a model with another template"
                )
            marks[len(asked) : len(answered)] = [True] * (len(answered) - len(asked))
            ends.append(len(answered))
        return ids, marks, ends

    def _written(self, chat: Chat, invited: bool, where: str) -> list[int]:
        if not chat:  # an assistant that begins: templates write no chat without messages
            return []
        try:
            written = self.tokenizer.apply_chat_template(chat, add_generation_prompt=invited, return_dict=True)
        except MemoryError:
            raise
        except Exception as error:  # what a template's own code raises
            roles = ", ".join(message["role"] for message in chat[:6])
            raise DataError(
                f"task.messages_column: {where}: the chat template refuses the roles {roles}"
                f"{', …' if len(chat) > 6 else ''} ({first_line(error, 200)}); change their order, or leave the row out"
            ) from error
        return list(written["input_ids"])
