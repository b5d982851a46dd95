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

    A row that is too long loses the end of its longest column, so that the template's own words, after which the label
    is read, are kept.
    """
    names = list(columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    tokens = encode([template.format(**row) for row in rows])
    return [
        ids if len(ids) <= max_length else _shorten(dict(row), template, encode, max_length)
        for row, ids in zip(rows, tokens, strict=True)
    ]


def _shorten(row: dict[str, str], template: str, encode: Encode, max_length: int) -> list[int]:
    """Tokens of the longest beginning of the longest column that fits, found by bisection on its characters."""
    longest = max(row, key=lambda name: len(row[name]))

    def tokens(characters: int) -> list[int]:
        return encode([template.format(**{**row, longest: row[longest][:characters].rstrip()})])[0]

    fits, too_long = 0, len(row[longest])
    if len(tokens(0)) > max_length:
        return tokens(0)[-max_length:]  # the rest alone is too long: keep the template's end
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(tokens(middle)) <= max_length:
            fits = middle
        else:
            too_long = middle
    return tokens(fits)
