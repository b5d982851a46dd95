"""A column of chats: each row is a list of messages {role, content}, with at least one of the assistant."""

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
    return [
        _chat(value, f"{table.row(row)}: column {shown(column)}", answered)
        for row, value in enumerate(table.columns[column])
    ]


def _chat(value: Any, where: str, answered: bool) -> Chat:
    where += " (task.messages_column)"
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
