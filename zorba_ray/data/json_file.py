"""JSON: one object per line, or one list of objects."""

import json
from array import array
from collections.abc import Iterator
from typing import Any

from zorba_ray.data.table_file import BYTE_ORDER_MARK, DataTable, TableFile
from zorba_ray.errors import DataError
from zorba_ray.printable import listed, on_one_line, shown


def read_json(file: TableFile) -> DataTable:
    """The columns that were asked for.

    Raises:
        DataError: the file is not JSON, or a row lacks a key.
    """
    first = next((raw for _, raw in file.raw_lines() if raw.strip()), b"")
    lines = array("q") if first.lstrip()[:1] != b"[" else None
    names = [*file.wanted, *file.more]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    lacking: tuple[str, str, list[str]] | None = None
    keys_seen: set[str] = set()
    for index, (line, row) in enumerate(_objects(file, lines is None)):
        where = f"row {index + 1}"
        if lines is not None:
            lines.append(line)
            where += f" (line {line})"
        keys_seen |= row.keys()
        for name in names:
            if name not in row and lacking is None and name in file.wanted:
                lacking = (where, name, list(row))
            columns[name].append(row.get(name))
    if lacking is not None:
        where, name, keys = lacking
        if name not in keys_seen:
            TableFile(file.path, file.kind, [name], None).present_columns(keys)
        raise DataError(f"data.path={file.origin}: {where} has no {shown(name)} (it has {listed(keys)})")
    present = {name: column for name, column in columns.items() if name in keys_seen or name in file.wanted}
    return DataTable(file.origin, present, True, lines)


def json_names(file: TableFile) -> list[str]:
    """The keys of the first row."""
    first = next((raw for _, raw in file.raw_lines() if raw.strip()), b"")
    return list(next((row for _, row in _objects(file, first.lstrip()[:1] == b"[")), {}))


def _objects(file: TableFile, is_list: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row); the line is 0 for rows of a list."""
    if is_list:
        parsed = _parsed(file, file.path.read_bytes().removeprefix(BYTE_ORDER_MARK), "")
        rows = ((0, f"row {number}", row) for number, row in enumerate(parsed, start=1))
    else:
        lines = ((line, raw) for line, raw in file.raw_lines() if raw.strip())
        rows = ((line, f"line {line}", _parsed(file, raw, f"line {line}")) for line, raw in lines)
    for line, where, row in rows:
        if not isinstance(row, dict):
            raise file.unreadable(f"{where} is {shown(row)}, not an object {{…}}")
        yield line, row


def _parsed(file: TableFile, raw: bytes, where: str) -> Any:
    prefix = f"{where}: " if where else ""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree = dict(pairs)
        if len(tree) != len(pairs):
            keys = [key for key, _ in pairs]
            if twice := next((key for key in file.wanted if keys.count(key) > 1), None):
                raise file.unreadable(f"{prefix}the key {shown(twice)} is twice in one object")
        return tree

    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        line = where or f"line {raw[: error.start].count(10) + 1}"
        raise file.unreadable(f"{line} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = on_one_line(str(error))
        raise file.unreadable(f"{prefix}{reason}; write one object per line, or one list of objects") from error
