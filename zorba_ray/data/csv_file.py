"""CSV (RFC 4180). The delimiter is the first of `,`, `;` and tab whose header has the wanted columns."""

import csv
import sys
from array import array
from contextlib import suppress
from typing import Any, TextIO

from zorba_ray.data.table_file import DataTable, TableFile
from zorba_ray.errors import DataError

_DELIMITERS = (",", ";", "\t")


def read_csv(file: TableFile) -> DataTable:
    """The columns that were asked for.

    Raises:
        DataError: the file is not CSV, or a row has more or fewer fields than the header.
    """
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with file.path.open(newline="", encoding="utf-8-sig") as opened:
            return _rows(file, opened)
    except UnicodeDecodeError as error:
        line = next((n for n, raw in file.raw_lines() if raw.decode("utf-8", "ignore").encode() != raw), 1)
        raise file.unreadable(f"line {line} is not UTF-8; save the file as UTF-8") from error
    finally:
        csv.field_size_limit(limit)


def csv_names(file: TableFile) -> list[str]:
    """The header, with the delimiter that gives the most columns."""
    with file.path.open(newline="", encoding="utf-8-sig") as opened:
        headers = []
        for delimiter in _DELIMITERS:
            with suppress(csv.Error):
                headers.append(_start(opened, delimiter)[1])
        return max(headers, key=len, default=[])


def _rows(file: TableFile, opened: TextIO) -> DataTable:
    reader, header = _header(file, opened)
    if not header:
        raise DataError(f"data.path={file.origin}: the file is empty")
    names = file.present_columns(header)
    columns: list[list[str]] = [[] for _ in names]
    positions = [header.index(name) for name in names]
    lines = array("q")
    start = reader.line_num + 1
    try:
        for fields in reader:
            if fields:  # an empty line is not a row
                lines.append(start)
                if len(fields) != len(header):
                    raise file.unreadable(
                        f"row {len(lines)} (line {start}) has {len(fields)} fields and the header has {len(header)}; "
                        "put text with a delimiter or a line break in double quotes"
                    )
                for column, index in zip(columns, positions, strict=True):
                    column.append(fields[index])
            start = reader.line_num + 1
    except csv.Error as error:
        raise file.unreadable(
            f"row {len(lines) + 1} (line {start}): {error}; a double quote inside quoted text is written twice, and "
            "one at its beginning needs one at its end"
        ) from error
    return DataTable(file.origin, dict(zip(names, columns, strict=True)), False, lines)


def _header(file: TableFile, opened: TextIO) -> tuple[Any, list[str]]:
    """A reader placed after the header, and the header. Without a delimiter that fits, the comma is used."""
    for delimiter in _DELIMITERS:
        try:
            reader, header = _start(opened, delimiter)
        except csv.Error:
            continue
        if all(name in header for name in file.wanted):
            return reader, header
    try:
        return _start(opened, _DELIMITERS[0])
    except csv.Error as error:
        raise file.unreadable(f"the header: {error}") from error


def _start(opened: TextIO, delimiter: str) -> tuple[Any, list[str]]:
    opened.seek(0)
    reader = csv.reader(opened, delimiter=delimiter, strict=True)
    return reader, next((fields for fields in reader if fields), [])
