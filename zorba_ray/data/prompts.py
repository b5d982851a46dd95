"""Rows -> prompts -> tokens."""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zorba_ray.errors import DataError

Encode = Callable[[list[str]], list[list[int]]]
"""Texts -> token ids, special tokens included."""


@dataclass(frozen=True)
class Cut:
    """How many of a split's rows were too long, and what was left of them."""

    rows: int
    """Rows that were cut."""
    total: int
    """Rows of the split."""
    tokens_before: int
    """Tokens of the rows that were cut, all together, special tokens included. So `tokens_after`."""
    tokens_after: int


@dataclass(frozen=True)
class EncodedRows:
    """A split as the model sees it."""

    tokens: list[list[int]]
    texts: list[str]
    """The prompts that the tokens are of, cut where rows were too long."""
    cut: Cut


def prompt_columns(template: str) -> list[str]:
    """Columns that a template names, in order, each once."""
    return list(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(template) if name))


def prompt_tail(template: str) -> str:
    """What a template puts after its last column."""
    parts = list(string.Formatter().parse(template))
    return parts[-1][0] if parts and parts[-1][1] is None else ""


def render_prompts(columns: dict[str, list[str]], template: str) -> list[str]:
    """Every row's text; columns that the template does not name are left out."""
    return [
        template.format_map(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    ]


def encode_rows(
    columns: dict[str, list[str]], template: str, encode: Encode, max_length: int, following: Sequence[int] = ()
) -> EncodedRows:
    """Token ids of every row's prompt: at most `max_length` each, less what follows.

    In a row that is too long the longest column loses its end until it is as long, in characters, as the next one, then
    both, and so on, until the row fits. The template's own words and the special tokens stay.

    Args:
        following: tokens that come after each row's prompt; none: nothing does.

    Raises:
        DataError: the template's own words and the special tokens, with what follows, are more.
    """
    columns = {name: columns[name] for name in prompt_columns(template)}
    texts = render_prompts(columns, template)
    tokens = encode(texts)
    rooms = [max_length - count for count in following] or [max_length] * len(tokens)
    long = [row for row, ids in enumerate(tokens) if len(ids) > rooms[row]]
    before = sum(len(tokens[row]) for row in long)
    rows = [{name: values[row] for name, values in columns.items()} for row in long]
    short = _shorten(rows, template, encode, [rooms[row] for row in long], max_length)
    for row, (text, ids) in zip(long, short, strict=True):
        texts[row], tokens[row] = text, ids
    after = sum(len(tokens[row]) for row in long)
    return EncodedRows(tokens, texts, Cut(len(long), len(texts), before, after))


def _shorten(
    rows: Sequence[dict[str, str]], template: str, encode: Encode, rooms: Sequence[int], max_length: int
) -> list[tuple[str, list[int]]]:
    """Prompt and tokens of each row with the largest limit on the characters of a column by which it fits.

    Found by bisection, of all rows at once: tokenizers are quick with many texts and slow with many calls.
    """

    def prompt(row: dict[str, str], limit: int) -> str:
        return template.format(
            **{name: text if len(text) <= limit else text[:limit].rstrip() for name, text in row.items()}
        )

    if not rows:
        return []
    empty = template.format(**dict.fromkeys(rows[0], ""))
    (least,) = encode([empty])
    if len(least) > min(rooms):
        needed = len(least) + max_length - min(rooms)
        after = "" if needed == len(least) else f" ({needed} with what follows the prompt)"
        raise DataError(
            f"data.max_length={max_length}: the words of data.prompt and the special tokens alone are {len(least)} "
            f"tokens{after}, which leaves none for the text; set data.max_length to more than {needed}, or shorten "
            "data.prompt"
        )
    best = [(empty, least)] * len(rows)
    fits = [0] * len(rows)
    too_long = [max(map(len, row.values())) for row in rows]
    while open_rows := [row for row in range(len(rows)) if too_long[row] - fits[row] > 1]:
        middles = [(fits[row] + too_long[row]) // 2 for row in open_rows]
        prompts = [prompt(rows[row], middle) for row, middle in zip(open_rows, middles, strict=True)]
        for row, middle, text, ids in zip(open_rows, middles, prompts, encode(prompts), strict=True):
            if len(ids) <= rooms[row]:
                fits[row], best[row] = middle, (text, ids)
            else:
                too_long[row] = middle
    return best
