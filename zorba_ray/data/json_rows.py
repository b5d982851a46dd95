"""Rows of a JSON file, with the types that JSON gives them."""

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zorba_ray.data.lines import BYTE_ORDER_MARK, raw_lines
from zorba_ray.data.quoting import legible, listed, quoted
from zorba_ray.data.table import Table, taken_columns, unreadable
from zorba_ray.errors import DataError


def read_json(path: Path, origin: str, wanted: list[str], optional: str | None) -> Table:
    """One object per line, or one list of objects."""
    first = next((raw for _, raw in raw_lines(path) if raw.strip()), b"")
    lines = array("q") if first.lstrip()[:1] != b"[" else None
    rows = _objects(path, origin, wanted) if lines is not None else _object_list(path, origin, wanted)
    names = wanted if optional is None or optional in wanted else [*wanted, optional]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    lacking: tuple[str, str, list[str]] | None = None
    seen: set[str] = set()
    for place, (line, row) in enumerate(rows):
        if lines is not None:
            lines.append(line)
        for name in names:
            if name in row:
                seen.add(name)
            elif lacking is None and name in wanted:
                where = f"row {place + 1}" + (f" (line {line})" if lines is not None else "")
                lacking = (where, name, list(row))
            columns[name].append(row.get(name))
    if lacking is not None:
        where, name, keys = lacking
        if name not in seen:
            taken_columns(origin, keys, [name], None)
        raise DataError(f"data.path={origin}: {where} has no {quoted(name)} (it has {listed(keys)})")
    if optional is not None and optional not in seen and optional not in wanted:
        del columns[optional]
    return Table(origin, columns, True, lines)


def _objects(path: Path, origin: str, wanted: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, raw in raw_lines(path):
        if raw.strip():
            row = _parsed(raw, origin, f"line {line}", wanted)
            if not isinstance(row, dict):
                raise unreadable(origin, "json", f"line {line} is {quoted(row)}, no object {{…}}")
            yield line, row


def _object_list(path: Path, origin: str, wanted: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = _parsed(path.read_bytes().removeprefix(BYTE_ORDER_MARK), origin, "", wanted)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise unreadable(origin, "json", f"row {place + 1} is {quoted(row)}, no object {{…}}")
        yield 0, row


def _parsed(raw: bytes, origin: str, where: str, wanted: list[str]) -> Any:
    at = f"{where}: " if where else ""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            if twice := next((key for key in wanted if keys.count(key) > 1), None):
                raise unreadable(origin, "json", f"{at}the key {quoted(twice)} stands twice in one object")
        return found

    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        place = where or f"line {raw[: error.start].count(10) + 1}"
        raise unreadable(origin, "json", f"{place} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = legible(str(error))
        raise unreadable(origin, "json", f"{at}{reason}; write one object per line, or one list of objects") from error
