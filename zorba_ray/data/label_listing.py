"""labels.json, the file beside the data that names its labels."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zorba_ray.data.quoting import legible, quoted
from zorba_ray.errors import DataError

NAME = "labels.json"
_INDEX = re.compile("0|[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class LabelListing:
    """What labels.json says; nothing where there is none."""

    positions: dict[str, int] = field(default_factory=dict)
    """Name of a label -> its position in `data.label_words`."""
    explicit: bool = False
    """Of the form {name: position}, which says how each label is to be read."""


def read_listing(folder: Path, words: Sequence[str]) -> LabelListing:
    """labels.json of a folder: ["negative", "positive"], {"negative": 0, "positive": 1} or {"0": "negative", …}.

    Raises:
        DataError: none of these forms, or it puts a label word elsewhere than `data.label_words` does.
    """
    path = folder / NAME
    try:
        if not path.is_file():
            return LabelListing()
        tree = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique)
    except OSError as error:
        raise DataError(f"{legible(str(path))}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{legible(str(path))}: {NAME} is not JSON ({legible(str(error))})") from error
    listing = _listing(tree, legible(str(path)))
    _compare(listing, words, legible(str(path)))
    return listing


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _listing(tree: Any, where: str) -> LabelListing:
    if isinstance(tree, list) and all(_name(entry) for entry in tree):
        names = [str(entry) for entry in tree]
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is None:
            return LabelListing({name: place for place, name in enumerate(names)})
        raise DataError(f"{where}: {quoted(twice)} stands twice; each label has one name")
    if isinstance(tree, dict):
        if all(
            isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 for value in tree.values()
        ):
            return LabelListing(dict(tree), explicit=True)
        if all(isinstance(value, str) and _INDEX.fullmatch(key) for key, value in tree.items()):
            if len(set(tree.values())) == len(tree):
                return LabelListing({name: int(key) for key, name in tree.items()})
            raise DataError(f"{where}: two labels have one name; each label has its own")
    raise DataError(
        f'{where}: write a list of names in label order, as in ["negative", "positive"], or an object, as in '
        f'{{"negative": 0, "positive": 1}} or {{"0": "negative", "1": "positive"}}; it holds {quoted(tree)}'
    )


def _name(entry: Any) -> bool:
    return isinstance(entry, (str, int)) and not isinstance(entry, bool)


def _compare(listing: LabelListing, words: Sequence[str], where: str) -> None:
    """Names that are label words, in any spelling, must be at the same position."""
    places = {word.strip().casefold(): place for place, word in enumerate(words)}
    exact = {word: place for place, word in enumerate(words)}
    for name, position in listing.positions.items():
        place = exact.get(name, places.get(name.strip().casefold()))
        if place is not None and place != position:
            raise DataError(
                f"{where} says that {quoted(name)} is label {position}, and data.label_words that it is label {place}; "
                "put data.label_words in the order of the labels"
            )
