"""Rows of a CSV file, as text."""

import csv
import sys
from array import array
from pathlib import Path
from typing import Any, TextIO

from zorba_ray.data.lines import decodable, raw_lines
from zorba_ray.data.table import Table, taken_columns, unreadable
from zorba_ray.errors import DataError

_DELIMITERS = (",", ";", "\t")


def read_csv(path: Path, origin: str, wanted: list[str], optional: str | None) -> Table:
    """RFC 4180 with `,`, `;` or tabs between the fields: the first of them by which the header has what is wanted."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _csv_rows(file, origin, wanted, optional)
    except UnicodeDecodeError as error:
        line = next((number for number, raw in raw_lines(path) if not decodable(raw)), 1)
        raise unreadable(origin, "csv", f"line {line} is not UTF-8; save the file as UTF-8") from error
    finally:
        csv.field_size_limit(limit)


def _csv_rows(file: TextIO, origin: str, wanted: list[str], optional: str | None) -> Table:
    reader, header = _header(file, origin, wanted)
    if not header:
        raise DataError(f"data.path={origin}: the file is empty")
    names = taken_columns(origin, header, wanted, optional)
    columns: list[list[str]] = [[] for _ in names]
    places = [header.index(name) for name in names]
    lines = array("q")
    start, row = reader.line_num + 1, 0
    try:
        for fields in reader:
            if fields:  # else a line without anything on it
                row += 1
                if len(fields) != len(header):
                    raise unreadable(
                        origin,
                        "csv",
                        f"row {row} (line {start}) has {len(fields)} fields and the header has {len(header)}; put text "
                        "with a delimiter or a line break in double quotes",
                    )
                lines.append(start)
                for column, place in zip(columns, places, strict=True):
                    column.append(fields[place])
            start = reader.line_num + 1
    except csv.Error as error:
        raise unreadable(
            origin,
            "csv",
            f"row {row + 1} (line {start}): {error}; a double quote inside quoted text is written twice, and "
            "one at its beginning needs one at its end",
        ) from error
    return Table(origin, dict(zip(names, columns, strict=True)), False, lines)


def _header(file: TextIO, origin: str, wanted: list[str]) -> tuple[Any, list[str]]:
    """A reader behind the header, and the header; of the comma where no delimiter gives what is wanted."""
    for delimiter in _DELIMITERS:
        try:
            reader, header = _first_row(file, delimiter)
        except csv.Error:
            continue
        if all(name in header for name in wanted):
            return reader, header
    try:
        return _first_row(file, ",")
    except csv.Error as error:
        raise unreadable(origin, "csv", f"the header: {error}") from error


def _first_row(file: TextIO, delimiter: str) -> tuple[Any, list[str]]:
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    return reader, next((fields for fields in reader if fields), [])
