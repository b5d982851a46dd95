"""A column of labels -> positions in `data.label_words`. A label that can be read in two ways is an error.

`labels.json`, a file beside the data, may name the labels.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.data.table_file import DataTable
from zorba_ray.errors import DataError
from zorba_ray.printable import listed, on_one_line, shown

LISTING = "labels.json"
_INDEX = re.compile("0|[1-9][0-9]{0,8}")
_WHOLE = re.compile("-?(0|[1-9][0-9]{0,17})")
"""Text that is a position; `007` and `1.0` are not."""


@dataclass(frozen=True)
class LabelListing:
    """What labels.json says; empty without such a file."""

    positions: dict[str, int] = field(default_factory=dict)
    """Name of a label -> its position in `data.label_words`."""
    explicit: bool = False
    """Of the form {name: position}, which says how each label is to be read."""


def read_listing(folder: Path, words: Sequence[str]) -> LabelListing:
    """labels.json of a folder: ["negative", "positive"], {"negative": 0, "positive": 1} or {"0": "negative", …}.

    Raises:
        DataError: another form, or a label word at another position than in `data.label_words`.
    """
    path = folder / LISTING
    where = on_one_line(str(path))
    try:
        if not path.is_file():
            return LabelListing()
        tree = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique)
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {LISTING} is not JSON ({on_one_line(str(error))})") from error
    listing = _listing(tree, where)
    spelled = {word.strip().casefold(): position for position, word in enumerate(words)}
    exact = {word: position for position, word in enumerate(words)}
    for name, position in listing.positions.items():
        word_position = exact.get(name, spelled.get(name.strip().casefold()))
        if word_position not in (None, position):
            raise DataError(
                f"{where} says that {shown(name)} is label {position}, and data.label_words that it is label "
                f"{word_position}; put data.label_words in the order of the labels"
            )
    return listing


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _listing(tree: Any, where: str) -> LabelListing:
    if isinstance(tree, list) and all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in tree):
        names = [str(name) for name in tree]
        if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
            raise DataError(f"{where}: {shown(twice)} stands twice; each label has one name")
        return LabelListing({name: position for position, name in enumerate(names)})
    if isinstance(tree, dict):
        if all(type(value) is int and 0 <= value < 10**9 for value in tree.values()):
            return LabelListing(dict(tree), explicit=True)
        if all(isinstance(value, str) and _INDEX.fullmatch(key) for key, value in tree.items()):
            if len(set(tree.values())) != len(tree):
                raise DataError(f"{where}: two labels have one name; each label has its own")
            return LabelListing({name: int(key) for key, name in tree.items()})
    raise DataError(
        f'{where}: write a list of names in label order, as in ["negative", "positive"], or an object, as in '
        f'{{"negative": 0, "positive": 1}} or {{"0": "negative", "1": "positive"}}; it holds {shown(tree)}'
    )


@dataclass(frozen=True)
class _Label:
    """A distinct value of the column, and what it can mean. With neither word nor number the row has no label."""

    value: Any
    word: int | None = None
    """Position of the label word, or of the name in labels.json, that the value is."""
    number: int | None = None
    """The value as a position, in range or not."""
    settled: bool = False
    """The word counts, even if the number differs: text in JSON or parquet, or a name in an explicit labels.json."""
    where: str = ""
    """File and row of the first."""
    split: str = ""


def label_positions(
    tables: Mapping[str, Sequence[DataTable]], column: str, words: Sequence[str], listing: LabelListing
) -> dict[str, np.ndarray]:
    """Positions of each split's labels in `words`, int64 [rows], table after table.

    A value that is a label word, or a name in labels.json, is that label. Any other whole number is a position. A
    number may also be the word of another position, as in ["1", "0"]: then the words count if every value is a word
    and not every value is a position; else it is an error.

    Raises:
        DataError: a row without a label, a value that is neither word nor position, or one with two readings; the
            message names file and row.
    """
    if not words:
        raise DataError("data.label_words is empty: give one word or sentence per label, in label order")
    labels: dict[Any, _Label] = {}
    for split, parts in tables.items():
        missing: list[str] = []
        for table in parts:
            for row, key in enumerate(_keys(table, column)):
                where = f"{table.row(row)}, column {shown(column)}"
                if key not in labels:
                    try:
                        label = _read(table.columns[column][row], table.typed, words, listing)
                    except _NoLabel as error:
                        raise DataError(f"{where}: label {error}") from None
                    labels[key] = replace(label, where=where, split=split)
                if labels[key].word is None and labels[key].number is None:
                    missing.append(where)
        if missing:
            raise DataError(
                f"{missing[0]}: {len(missing)} row(s) of {split} have no label (-1 or empty), this one first; "
                "label them or leave them out"
            )
    _refuse_doubtful(list(labels.values()), words)
    positions = {key: _position(label, words) for key, label in labels.items()}
    return {
        split: np.array([positions[key] for table in parts for key in _keys(table, column)], dtype=np.int64)
        for split, parts in tables.items()
    }


def _keys(table: DataTable, column: str) -> Iterator[Any]:
    """One key per row. 1, 1.0, True and text differ; a value that cannot be a label has its type as key."""
    for value in table.columns[column]:
        if isinstance(value, str):
            yield table.typed, value
        elif isinstance(value, Real) and value == value:
            yield type(value), value
        else:
            yield type(value)


class _NoLabel(Exception):
    """A value cannot be a label; the message says why."""


def _read(value: Any, typed: bool, words: Sequence[str], listing: LabelListing) -> _Label:
    """What a value can mean; `typed`: its file has text and numbers as different types. Raises: _NoLabel."""
    codes = {**listing.positions, **{word: position for position, word in enumerate(words)}}

    def named(text: str, number: int | None, settled: bool = False) -> _Label:
        return _Label(value, codes[text], number, settled or (listing.explicit and text in listing.positions))

    if value is None or (isinstance(value, Real) and value != value):  # NaN is how some writers say "none"
        return _Label(value)
    if isinstance(value, str):
        number = int(value) if _WHOLE.fullmatch(value) else None
        if value in codes:
            return named(value, number, typed)
        if number is None and value:
            raise _NoLabel(f"{shown(value)} is neither in data.label_words [{listed(words)}] nor in labels.json")
        return _Label(value, number=None if number == -1 else number)
    if isinstance(value, bool):
        spelled = {code for name, code in codes.items() if name.lower() == str(value).lower()}
        if len(spelled) == 1:
            return _Label(value, spelled.pop())
        raise _NoLabel(
            f"{str(value).lower()} is a truth value, and data.label_words [{listed(words)}] do not say which is meant; "
            'write the words themselves, the numbers 0 and 1, or a labels.json as {"false": 0, "true": 1} beside the '
            "data"
        )
    if not isinstance(value, Real):
        hint = "; of a one-hot list write the position of the 1" if isinstance(value, list) else ""
        raise _NoLabel(f"{shown(value)} is not a whole number or text{hint}")
    number = value if isinstance(value, int) else int(float(value)) if float(value).is_integer() else None
    texts = [text for text in dict.fromkeys([str(value), str(number)]) if text in codes]
    if len({codes[text] for text in texts}) > 1:
        raise _NoLabel(f"{shown(value)} is more than one of the labels {listed(texts)}")
    if texts:
        return named(texts[0], number)
    if number is None:
        raise _NoLabel(f"{shown(value)} is not a whole number, and no label word reads so")
    return _Label(value, number=None if number == -1 else number)


def _refuse_doubtful(labels: Sequence[_Label], words: Sequence[str]) -> None:
    """Raises a DataError for numbers that are also words of other positions, unless only the words fit all labels."""
    classes = range(len(words))
    doubtful = [
        label
        for label in labels
        if label.word in classes and label.number in classes and label.word != label.number and not label.settled
    ]
    all_words = all(label.word is not None for label in labels)
    all_numbers = all(label.number in classes for label in labels)
    if not doubtful or (all_words and not all_numbers):
        return
    first = doubtful[0]
    listing = json.dumps({word: label for label, word in enumerate(words[:3])}, ensure_ascii=False)
    raise DataError(
        f"{first.where}: label {shown(first.value)} has two readings: label {first.word} "
        f"({shown(words[first.word or 0])}) by its name, and label {first.number} "
        f"({shown(words[first.number or 0])}) by its number; put data.label_words in the order of their numbers, or "
        f"say in a labels.json beside the data that names are meant, as in {on_one_line(listing)}"
    )


def _position(label: _Label, words: Sequence[str]) -> int:
    position = label.number if label.word is None else label.word
    if position is None or not 0 <= position < len(words):
        raise DataError(
            f"{label.where}: label {shown(label.value)} of the {label.split} split has no entry in data.label_words "
            f"({len(words)} entries, labels 0 … {len(words) - 1})"
        )
    return position
