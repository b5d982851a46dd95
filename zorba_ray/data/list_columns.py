"""Columns whose values may be lists: chats, options, right answers. Lists come from JSON or parquet.

- Chats: each row is a list of messages {role, content}, with at least one of the assistant.
- Options: each row is a list of text, one of which is right.
- Right answers: a text, a list of texts, or {"text": [...]} as in SQuAD. Any of them is right.
"""

from collections.abc import Sequence
from typing import Any

from zorba_ray.data.table_file import DataTable
from zorba_ray.errors import DataError
from zorba_ray.printable import shown

ASSISTANT = "assistant"
Chat = list[dict[str, str]]


def read_chats(table: DataTable, column: str, answered: bool = True) -> list[Chat]:
    """The messages of each row.

    Args:
        answered: the assistant must have said something.

    Raises:
        DataError: a row is not a list of messages with role and content, or has no message of the assistant.
    """
    return [_chat(value, where, answered) for where, value in table.each(column, "task.messages_column")]


def _chat(value: Any, where: str, answered: bool) -> Chat:
    if not isinstance(value, list) or not value:
        raise DataError(
            f'{where} holds {shown(value)}; write a list of messages as {{"role": "user", "content": "Hello"}}, in '
            "JSON or parquet"
        )
    for number, message in enumerate(value, start=1):
        for key in ("role", "content"):
            text = message.get(key) if isinstance(message, dict) else None
            if not isinstance(text, str) or not text.strip():
                raise DataError(
                    f"{where}: message {number} has no text as its {key} ({shown(message)}); write it, or leave the "
                    "row out"
                )
    if answered and all(message["role"] != ASSISTANT for message in value):
        raise DataError(
            f"{where} has no message of the role {ASSISTANT}, so there is nothing to learn; add the answers, or leave "
            "the row out"
        )
    return [{"role": message["role"], "content": message["content"]} for message in value]


def chat_text(chat: Chat) -> str:
    """A chat as plain text. Two rows are the same if these texts are."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in chat)


def unanswered(chat: Chat) -> Chat:
    """A chat up to where the assistant is to speak: without its last turn, where it has the last word."""
    return chat[:-1] if chat[-1]["role"] == ASSISTANT else chat


def read_options(table: DataTable, column: str) -> list[list[str]]:
    """The options of each row.

    Raises:
        DataError: no list, fewer than two options, an option that is no text or empty, or two that are the same.
    """
    for where, options in table.each(column, "task.options_column"):
        if not isinstance(options, list):
            raise DataError(
                f"{where} holds {shown(options)} ({type(options).__name__}); write a list of text, in JSON or parquet"
            )
        if len(options) < 2:
            raise DataError(
                f"{where} has {len(options)} option(s); a choice needs two at least: add them, or leave the row out"
            )
        for number, option in enumerate(options):
            if not isinstance(option, str) or not option.strip():
                raise DataError(f"{where}: option {number} is {shown(option)}; write text, or leave the row out")
            if option in options[:number]:
                raise DataError(f"{where}: {shown(option)} stands twice; keep one, or leave the row out")
    return table.columns[column]


def right_options(table: DataTable, column: str, options: Sequence[Sequence[str]]) -> list[int]:
    """The position of each row's right option: as it stands, or of the option that reads so.

    Raises:
        DataError: none, beyond the options, or no option reads so.
    """
    places = []
    for (where, value), choices in zip(table.each(column, "data.label_column"), options, strict=True):
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


def read_references(table: DataTable, column: str) -> list[list[str]]:
    """The right answers of each row, each once.

    Raises:
        DataError: a row has no right answer, an empty one, or one that is not text.
    """
    return [_references(value, where) for where, value in table.each(column, "task.references_column")]


def _references(value: Any, where: str) -> list[str]:
    if isinstance(value, dict) and "text" in value:
        value = value["text"]
    answers = value if isinstance(value, list) else [] if value is None else [value]
    if not answers:
        raise DataError(f"{where} has no right answer; write one, or leave the row out")
    for answer in answers:
        if not isinstance(answer, str) or not answer.strip():
            raise DataError(
                f"{where} holds {shown(answer)}; a right answer must be text and not empty: write it as text (18 as "
                '"18"), or leave the row out'
            )
    return list(dict.fromkeys(map(str, answers)))
