"""Rows -> prompts -> tokens."""

import string
from collections.abc import Callable

Encode = Callable[[list[str]], list[list[int]]]
"""Texts -> token ids, special tokens included."""


def prompt_columns(template: str) -> list[str]:
    """Columns that a template names, in order, each once."""
    return list(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(template) if name))


def encode_rows(columns: dict[str, list[str]], template: str, encode: Encode, max_length: int) -> list[list[int]]:
    """Token ids of every row's prompt, at most `max_length` each.

    A row that is too long loses the end of its longest column, so that the template's own words, which the label is read
    after, are kept.
    """
    names = list(columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    tokens = encode([template.format(**row) for row in rows])
    return [
        ids if len(ids) <= max_length else _shorten(dict(row), template, encode, max_length)
        for row, ids in zip(rows, tokens, strict=True)
    ]


def _shorten(row: dict[str, str], template: str, encode: Encode, max_length: int) -> list[int]:
    while True:
        ids = encode([template.format(**row)])[0]
        longest = max(row, key=lambda name: len(row[name]))
        if len(ids) <= max_length:
            return ids
        if not row[longest]:
            return ids[-max_length:]  # the template alone is too long: keep its end
        keep = min(len(row[longest]) * max_length // len(ids), len(row[longest]) - 1)
        row[longest] = row[longest][:keep].rstrip()
