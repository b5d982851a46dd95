"""Values of files inside messages: shortened, and with control characters escaped."""

import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

_WIDTH = 60
_NAMES = 12


def quoted(value: Any) -> str:
    """Python's notation of a value, at most about 90 characters; nothing in it moves a cursor or ends a line."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _WIDTH else f"{value[:_WIDTH]!r}… ({len(value):,} characters)"
    text = reprlib.repr(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def listed(values: Iterable[Any]) -> str:
    """The first 12 values, quoted, between commas."""
    values = list(values)
    more = f", … ({len(values)} in all)" if len(values) > _NAMES else ""
    return ", ".join(map(quoted, islice(values, _NAMES))) + more


def legible(text: str) -> str:
    """A path or a library's message: as it is, but for characters that do not print, and at most 400 characters."""
    text = text if len(text) <= 400 else f"{text[:200]}…{text[-200:]}"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
