"""What a file of a run, sweep or comparison holds, as a typed record: one reader and one writer for all of them.

A record of a newer program may hold keys that this one does not know. They are ignored, kept in the record, and written
back with it. A newer *version* of a record says that known keys mean something else: it is refused by its number.
"""

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
    """Base of all records. Equal where all known keys are equal; a reader does not change one."""

    VERSION: ClassVar[int] = 1
    """Of the kind. To be raised where a known key gets another meaning, not where one is added."""

    @property
    def unknown(self) -> dict[str, Any]:
        """What the file said under keys that this program does not know."""
        return self.__dict__.get("_unknown", {})

    def tree(self) -> dict[str, Any]:
        """JSON-ready, with the unknown keys."""
        tree = msgspec.to_builtins(self, str_keys=True, enc_hook=_encoded)
        for record, own in _records(self, tree):
            own.update(record.unknown)
        return tree


Kind = TypeVar("Kind", bound=Record)


def write_record(path: Path, record: Record, durably: bool = False) -> None:
    """Writes a record as a file of its own, aside and renamed.

    Raises:
        OSError: it cannot be written; the old file stays.
        ValueError: a number is not finite.
    """
    write_json(path, {"version": record.VERSION, **record.tree()}, durably)


def read_record(path: Path, kind: type[Kind], of: str = "run", printable: bool = False) -> Kind:
    """Reads a record that is a file of its own.

    Args:
        of: what the folder is, for messages.
        printable: as of `read_tree`.

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
            "use the zorba-ray that wrote it (provenance.json of a run names it), or a newer one"
        )
    try:
        record = msgspec.convert(tree, kind, str_keys=True, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        rule, _, key = str(error).partition(" - at ")
        key = key.strip("`").removeprefix("$").lstrip(".")
        raise RunDirError(f"{where}: {f'{key}: ' if key else ''}{rule}") from error
    for part, own in _records(record, tree):
        known = {field.encode_name for field in msgspec.structs.fields(part)}
        known |= {"version", part.__struct_config__.tag_field}
        if unknown := {key: value for key, value in own.items() if key not in known}:
            msgspec.structs.force_setattr(part, "_unknown", unknown)
    return record


def read_tree(path: Path, of: str = "run", printable: bool = False) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        of: what the folder is, for messages.
        printable: characters that XML and UTF-8 cannot hold, or that turn the text around them, become U+FFFD.

    Raises:
        RunDirError: missing, unreadable or no object; names the file.
    """
    try:
        tree = parse_json(path.read_text(encoding="utf-8"), printable)
    except FileNotFoundError as error:
        raise RunDirError(f"{path.parent} is not a complete {of} directory: {path.name} is missing") from error
    except OSError as error:
        raise RunDirError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of thousands of digits, too deep
        raise RunDirError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(tree, dict):
        raise RunDirError(f"{path} holds no JSON object")
    return tree


def parse_json(text: str, printable: bool = False) -> Any:
    """`json.loads`, with text made `printable` as in `read_tree`."""
    tree = json.loads(text)
    # Most texts hold neither an escape nor such a character, and are not walked.
    return _printable(tree) if printable and ("\\u" in text or UNPRINTABLE.search(text)) else tree


def _encoded(value: Any) -> Any:
    """JSON of the one type that it does not know."""
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
    """Every record in `value`, itself included, with its object in `tree`."""
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
        for inner, own in zip(value, tree, strict=True):
            yield from _records(inner, own)
