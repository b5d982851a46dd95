"""The base class of typed records, and the reader and writer of all files of a run, sweep or comparison.

A record of a newer program may have keys that this one does not know. They are ignored, kept in the record, and written
back with it. A newer *version* of a record means that known keys changed their meaning: it is refused, with its number.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from zorba_ray.active_sets import ActiveSets
from zorba_ray.artifacts.files import write_json
from zorba_ray.errors import RunDirError
from zorba_ray.printable import UNPRINTABLE, shown

Count = Annotated[int, msgspec.Meta(ge=0)]
"""A number of things, bytes or rounds."""
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Record(msgspec.Struct, kw_only=True, dict=True):
    """Base of all records. Two records are equal if all known keys are equal."""

    VERSION: ClassVar[int] = 1
    """Version of this kind of record. Raise it if a known key gets another meaning, not if a key is added."""

    @property
    def unknown(self) -> dict[str, Any]:
        """Keys of the file that this program does not know, with their values."""
        return self.__dict__.get("_unknown", {})

    def tree(self) -> dict[str, Any]:
        """The record as values that JSON can hold, with the unknown keys."""
        tree = msgspec.to_builtins(self, str_keys=True, enc_hook=_encoded)
        for record, node in _records(self, tree):
            node.update(record.unknown)
        return tree


Kind = TypeVar("Kind", bound=Record)


def write_record(path: Path, record: Record, synced: bool = True) -> None:
    """Writes a record as a JSON file, as `write_json` does. Its key `sha256` is the digest of the others, by which
    `read_tree` sees damage.

    Raises:
        OSError: it cannot be written; the old file stays.
        ValueError: a number is not finite.
    """
    tree = {"version": record.VERSION, **record.tree()}
    write_json(path, {**tree, "sha256": _digest(tree)}, synced)


def read_record(path: Path, kind: type[Kind], of: str = "run", printable: bool = False) -> Kind:
    """Reads a record from a JSON file.

    Args:
        of: kind of the folder, for messages.
        printable: as in `read_tree`.

    Raises:
        RunDirError: missing, damaged, of a newer version, or with a value that breaks a rule; names file and key.
    """
    return record_of(kind, read_tree(path, of, printable), str(path))


def record_of(kind: type[Kind], tree: dict[str, Any], where: str) -> Kind:
    """A JSON object as a typed record.

    Args:
        where: file, or file and line, for messages.

    Raises:
        RunDirError: a newer version, or a value that breaks a rule; names `where` and the key.
    """
    version = tree.get("version", 1)
    if type(version) is not int or not 1 <= version <= kind.VERSION:
        raise RunDirError(
            f"{where}: {kind.__name__} of version {shown(version)}; this program reads versions 1 to {kind.VERSION}: "
            "use the version of zorba-ray that wrote it (provenance.json of a run names it), or a newer one"
        )
    try:
        record = msgspec.convert(tree, kind, str_keys=True, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        rule, _, key = str(error).partition(" - at ")
        key = key.strip("`").removeprefix("$").lstrip(".")
        raise RunDirError(f"{where}: {f'{key}: ' if key else ''}{rule}") from error
    for part, node in _records(record, tree):
        known_keys = {field.encode_name for field in msgspec.structs.fields(part)}
        known_keys |= {"version", part.__struct_config__.tag_field}
        if unknown := {key: value for key, value in node.items() if key not in known_keys}:
            msgspec.structs.force_setattr(part, "_unknown", unknown)
    return record


def read_tree(path: Path, of: str = "run", printable: bool = False) -> dict[str, Any]:
    """The JSON object in a file, without its digest.

    Args:
        of: kind of the folder, for messages.
        printable: replace characters by U+FFFD that XML or UTF-8 cannot hold, or that change the direction of text.

    Raises:
        RunDirError: missing, unreadable, not a JSON object, or not as it was written; names the file.
    """
    try:
        tree = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunDirError(f"{path.parent} is not a complete {of} directory: {path.name} is missing") from error
    except OSError as error:
        raise RunDirError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number of thousands of digits, too deep
        raise RunDirError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(tree, dict):
        raise RunDirError(f"{path} does not hold a JSON object")
    digest = tree.pop("sha256", None)  # files of older programs have none
    if digest is not None and digest != _digest(tree):
        raise RunDirError(
            f"{path} is damaged or was changed: its content does not fit its sha256: put back a copy; "
            "`zorba-ray repair` takes such a file out of a run, and a resume makes it anew"
        )
    return _printable(tree) if printable else tree


def _digest(tree: dict[str, Any]) -> str:
    """SHA-256 (hex) of a JSON object; the layout of the file does not matter."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def parse_json(text: str, printable: bool = False) -> Any:
    """As `json.loads`; `printable` as in `read_tree`."""
    tree = json.loads(text)
    # Most files have no such character and no escape, and need no second pass.
    return _printable(tree) if printable and ("\\u" in text or UNPRINTABLE.search(text)) else tree


def _encoded(value: Any) -> Any:
    """ActiveSets as JSON, the only type in records that msgspec does not know."""
    if isinstance(value, ActiveSets):
        return value.marks
    raise TypeError(f"{type(value).__name__} in a record")


def _decoded(kind: type[Any], value: Any) -> Any:
    if kind is ActiveSets and isinstance(value, list) and all(isinstance(row, str) for row in value):
        return ActiveSets.of_marks(value)
    raise ValueError(f"{kind.__name__} expected")


def _printable(node: Any) -> Any:
    if isinstance(node, dict):
        return {_printable(key): _printable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_printable(item) for item in node]
    return UNPRINTABLE.sub("\ufffd", node) if isinstance(node, str) else node


def _records(value: Any, tree: Any) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Every record in `value`, also itself, together with its JSON object in `tree`."""
    if isinstance(value, Record):
        yield value, tree
        for field in msgspec.structs.fields(value):
            inner = getattr(value, field.name)
            if isinstance(inner, (Record, dict, list, tuple)) and field.encode_name in tree:
                yield from _records(inner, tree[field.encode_name])
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(inner, (Record, dict, list, tuple)):
                return  # a mapping has values of one kind
            yield from _records(inner, tree[str(key)])
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Record):
        for inner, node in zip(value, tree, strict=True):
            yield from _records(inner, node)
