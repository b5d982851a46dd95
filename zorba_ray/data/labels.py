"""A column of labels -> positions in `data.label_words`: each label has one reading, or is refused."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from zorba_ray.data.label_listing import LabelListing
from zorba_ray.data.quoting import legible, listed, quoted
from zorba_ray.data.table import Table
from zorba_ray.errors import DataError

_WHOLE = re.compile("-?(0|[1-9][0-9]{0,17})")
"""Text that is a position; `007` and `1.0` are not."""


@dataclass(frozen=True)
class _Reading:
    """What one value can mean."""

    word: int | None = None
    """Position of the label word, or of the name in labels.json, that the value is."""
    number: int | None = None
    """The value as a position, in range or not."""
    settled: bool = False
    """A word whatever the number says: text of JSON and parquet, or explicit in labels.json."""


@dataclass(frozen=True)
class _Place:
    """Where a value stands first."""

    split: str
    table: Table
    row: int
    value: Any

    def __str__(self) -> str:
        return self.table.row(self.row)


def label_positions(
    tables: Mapping[str, Sequence[Table]], column: str, words: Sequence[str], listing: LabelListing
) -> dict[str, np.ndarray]:
    """Positions of each split's labels in `words`, int64 [rows], table after table.

    A label that is a label word, or a name in labels.json, is that word. A whole number is a position where no word
    reads so. Where numbers are words at other positions, the reading is taken that serves all labels of all splits,
    and if both do, neither.

    Raises:
        DataError: no label, no word and no position, or two readings that differ; names file and row.
    """
    if not words:
        raise DataError("data.label_words is empty: give one word or sentence per label, in label order")
    codes = {**listing.positions, **{word: place for place, word in enumerate(words)}}
    readings: dict[Any, _Reading | None] = {}
    first: dict[Any, _Place] = {}
    for split, parts in tables.items():
        for table in parts:
            for row, key in enumerate(_keys(table, column)):
                if key not in readings:
                    first[key] = _Place(split, table, row, table.columns[column][row])
                    readings[key] = _read(first[key], codes, listing, words)
    _refuse_missing(tables, column, readings)
    found = {key: reading for key, reading in readings.items() if reading is not None}
    _refuse_doubtful(found, first, words)
    answer = {key: _position(reading, first[key], words) for key, reading in found.items()}
    return {
        split: np.array([answer[key] for table in parts for key in _keys(table, column)], dtype=np.int64)
        for split, parts in tables.items()
    }


def _keys(table: Table, column: str) -> Iterator[Any]:
    """One key per row that tells 1, 1.0, True and text apart; what no label can be has the key of its type."""
    for value in table.columns[column]:
        if isinstance(value, str):
            yield table.typed, value
        elif isinstance(value, Real) and value == value:
            yield type(value), value
        else:
            yield type(value)


def _read(place: _Place, codes: dict[str, int], listing: LabelListing, words: Sequence[str]) -> _Reading | None:
    """None: no label."""
    value = place.value
    if value is None or (isinstance(value, Real) and value != value):  # NaN is how some writers say "none"
        return None
    if isinstance(value, str):
        word = codes.get(value)
        if word is not None:
            number = int(value) if _WHOLE.fullmatch(value) else None
            return _Reading(word, number, place.table.typed or (listing.explicit and value in listing.positions))
        if value in ("", "-1"):
            return None
        if _WHOLE.fullmatch(value):
            return _Reading(number=int(value))
        raise DataError(
            f"{place}: label {quoted(value)} is neither in data.label_words [{listed(words)}] nor in labels.json"
        )
    if isinstance(value, bool):
        named = {code for name, code in codes.items() if name.lower() == str(value).lower()}
        if len(named) == 1:
            return _Reading(named.pop())
        raise DataError(
            f"{place}: label {str(value).lower()} is a truth value, and data.label_words [{listed(words)}] do not "
            'say which is meant; write the words themselves, the numbers 0 and 1, or a labels.json as {"false": 0, '
            '"true": 1} beside the data'
        )
    if not isinstance(value, Real):
        hint = "; of a one-hot list write the position of the 1" if isinstance(value, list) else ""
        raise DataError(f"{place}: label {quoted(value)} is not a whole number or text{hint}")
    number = _whole(value)
    texts = [text for text in dict.fromkeys([str(value), str(number)]) if text in codes]
    if len({codes[text] for text in texts}) > 1:
        raise DataError(f"{place}: label {quoted(value)} is more than one of the labels {listed(texts)}")
    if texts:
        return _Reading(codes[texts[0]], number, listing.explicit and texts[0] in listing.positions)
    if number is None:
        raise DataError(f"{place}: label {quoted(value)} is not a whole number, and no label word reads so")
    return None if number == -1 else _Reading(number=number)


def _whole(value: Real) -> int | None:
    if isinstance(value, int):
        return value
    return int(float(value)) if float(value).is_integer() else None


def _refuse_missing(tables: Mapping[str, Sequence[Table]], column: str, readings: dict[Any, _Reading | None]) -> None:
    if None not in readings.values():
        return
    for split, parts in tables.items():
        keys = [(table, row, key) for table in parts for row, key in enumerate(_keys(table, column))]
        missing = [table.row(row) for table, row, key in keys if readings[key] is None]
        if missing:
            raise DataError(
                f"{missing[0]}: {len(missing)} row(s) of {split} have no label (-1 or empty), this one first; "
                "label them or leave them out"
            )


def _refuse_doubtful(found: dict[Any, _Reading], first: dict[Any, _Place], words: Sequence[str]) -> None:
    """Numbers that are also words, of other positions: all labels together say which is meant, or nothing does."""
    classes = range(len(words))
    doubtful = [
        key
        for key, reading in found.items()
        if reading.word in classes and reading.number in classes and reading.word != reading.number
        if not reading.settled
    ]
    all_words = all(reading.word is not None for reading in found.values())
    all_numbers = all(reading.number in classes for reading in found.values())
    if not doubtful or (all_words and not all_numbers):
        return
    place, reading = first[doubtful[0]], found[doubtful[0]]
    listing = json.dumps({word: label for label, word in enumerate(words[:3])}, ensure_ascii=False)
    raise DataError(
        f"{place}: label {quoted(place.value)} has two readings: label {reading.word} "
        f"({quoted(words[reading.word or 0])}) by its name, and label {reading.number} "
        f"({quoted(words[reading.number or 0])}) by its number; put data.label_words in the order of their numbers, or "
        f"say in a labels.json beside the data that names are meant, as in {legible(listing)}"
    )


def _position(reading: _Reading, place: _Place, words: Sequence[str]) -> int:
    position = reading.number if reading.word is None else reading.word
    if position is None or not 0 <= position < len(words):
        raise DataError(
            f"{place}: label {quoted(place.value)} of the {place.split} split has no entry in data.label_words "
            f"({len(words)} entries, labels 0 … {len(words) - 1})"
        )
    return position
