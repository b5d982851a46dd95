"""One file of rows -> columns, as they stand in the file: no value is guessed, converted or filled in.

`pandas` and `datasets` guess types and take `NA` for nothing, and none of them says in which line a fault is.
"""

import csv
import json
import stat
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from zorba_ray.errors import DataError
from zorba_ray.printable import listed, on_one_line, shown

Kind = Literal["parquet", "json", "csv"]
KINDS: dict[str, Kind] = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""Ending -> what the file is read as."""
_DELIMITERS = (",", ";", "\t")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class DataTable:
    """The columns that were asked for."""

    origin: str
    """The file, for messages."""
    columns: dict[str, list[Any]]
    """Values as Python has them: text in CSV, what JSON and parquet say else."""
    typed: bool
    """False for CSV, where everything is text."""
    lines: Sequence[int] | None = None
    """Where each row begins, counted from 1; None for parquet and lists in JSON."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, index: int) -> str:
        """'data.path=rows.csv: row 3 (line 4)'; rows count from 1, and a CSV's header is none of them."""
        line = "" if self.lines is None else f" (line {self.lines[index]})"
        return f"data.path={self.origin}: row {index + 1}{line}"

    def texts(self, name: str) -> list[str]:
        """A column of text.

        Raises:
            DataError: the first value that is none: a number, a date, a list, nothing at all.
        """
        values = self.columns[name]
        for index, value in enumerate(values):
            if not isinstance(value, str):
                what = "has no text" if value is None else f"holds {shown(value)} ({type(value).__name__}), no text,"
                raise DataError(
                    f"{self.row(index)} {what} in column {shown(name)}: a template takes text as it stands; "
                    "write it as text, or leave the row out"
                )
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise DataError(
                    f"{self.row(index)}: column {shown(name)} holds half of a surrogate pair, which is no character"
                )
        return values


def read_table(path: Path, kind: Kind, wanted: Sequence[str], optional: str | None = None) -> DataTable:
    """Reads the columns `wanted`, and `optional` where the file has it.

    Raises:
        DataError: no such column, no rows, two columns of a wanted name, a row of another width, bytes that are not
            UTF-8, or a file that is not of its kind; names the file and, where there is one, row and line.
    """
    file = _File(path, kind, list(dict.fromkeys(wanted)), optional)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"data.path={file.origin}: no ordinary file")
        if status.st_size == 0:
            raise DataError(f"data.path={file.origin}: the file is empty")
        table = {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet}[kind](file)
    except OSError as error:  # pyarrow's faults of a file are among them
        reason = error.strerror or on_one_line(str(error))
        raise DataError(f"data.path={file.origin}: cannot be read ({reason})") from error
    if not len(table):
        raise DataError(f"data.path={file.origin}: the file is empty: it has no rows")
    return table


def column_names(path: Path, kind: Kind) -> list[str]:
    """The columns that a file has; of JSON, those of its first row. A CSV's delimiter is the one that gives the most.

    Raises:
        DataError: the file is empty, or is not of its kind.
    """
    file = _File(path, kind, [], None)
    try:
        if kind == "json":
            first = next((raw for _, raw in file.raw_lines() if raw.strip()), b"")
            return list(next((row for _, row in _objects(file, first.lstrip()[:1] == b"[")), {}))
        if kind == "parquet":
            from pyarrow import parquet

            return parquet.read_schema(path).names
        with path.open(newline="", encoding="utf-8-sig") as opened:
            headers = []
            for delimiter in _DELIMITERS:
                with suppress(csv.Error):
                    headers.append(_csv_start(opened, delimiter)[1])
            return max(headers, key=len, default=[])
    except (OSError, ValueError) as error:  # pyarrow's faults and bytes that are no UTF-8 are among them
        raise file.unreadable(on_one_line(str(error))) from error


@dataclass(frozen=True)
class _File:
    """What is read of which file."""

    path: Path
    kind: Kind
    wanted: list[str]
    optional: str | None

    @property
    def origin(self) -> str:
        return on_one_line(str(self.path))

    @property
    def more(self) -> list[str]:
        """The optional column, unless it is wanted anyway."""
        return [] if self.optional is None or self.optional in self.wanted else [self.optional]

    def unreadable(self, why: str) -> DataError:
        """The error for a file that is not what its ending says."""
        return DataError(f"data.path={self.origin}: could not be read as {self.kind}: {why}")

    def taken(self, names: Sequence[str]) -> list[str]:
        """The columns to read, of those that the file has.

        Raises:
            DataError: a wanted one is missing, or one of them is there twice.
        """
        absent = next((name for name in self.wanted if name not in names), None)
        if absent is not None:
            raise DataError(
                f"data.path={self.origin} has no column {shown(absent)} (columns: {listed(names)}); "
                "set data.prompt, data.label_column or the template and columns under task accordingly"
            )
        taken = [*self.wanted, *(name for name in self.more if name in names)]
        twice = next((name for name in taken if list(names).count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"data.path={self.origin} has more than one column {shown(twice)}; rename or drop the others"
            )
        return taken

    def raw_lines(self) -> Iterator[tuple[int, bytes]]:
        """(number from 1, line), without the byte order mark of UTF-8."""
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw


# CSV: RFC 4180 with `,`, `;` or tabs between the fields: the first of them by which the header has what is wanted ----


def _read_csv(file: _File) -> DataTable:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with file.path.open(newline="", encoding="utf-8-sig") as opened:
            return _csv_rows(file, opened)
    except UnicodeDecodeError as error:
        line = next((n for n, raw in file.raw_lines() if raw.decode("utf-8", "ignore").encode() != raw), 1)
        raise file.unreadable(f"line {line} is not UTF-8; save the file as UTF-8") from error
    finally:
        csv.field_size_limit(limit)


def _csv_rows(file: _File, opened: TextIO) -> DataTable:
    reader, header = _csv_header(file, opened)
    if not header:
        raise DataError(f"data.path={file.origin}: the file is empty")
    names = file.taken(header)
    columns: list[list[str]] = [[] for _ in names]
    places = [header.index(name) for name in names]
    lines = array("q")
    start = reader.line_num + 1
    try:
        for fields in reader:
            if fields:  # else a line without anything on it
                lines.append(start)
                if len(fields) != len(header):
                    raise file.unreadable(
                        f"row {len(lines)} (line {start}) has {len(fields)} fields and the header has {len(header)}; "
                        "put text with a delimiter or a line break in double quotes"
                    )
                for column, index in zip(columns, places, strict=True):
                    column.append(fields[index])
            start = reader.line_num + 1
    except csv.Error as error:
        raise file.unreadable(
            f"row {len(lines) + 1} (line {start}): {error}; a double quote inside quoted text is written twice, and "
            "one at its beginning needs one at its end"
        ) from error
    return DataTable(file.origin, dict(zip(names, columns, strict=True)), False, lines)


def _csv_header(file: _File, opened: TextIO) -> tuple[Any, list[str]]:
    """A reader behind the header, and the header; of the comma where no delimiter gives what is wanted."""
    for delimiter in _DELIMITERS:
        try:
            reader, header = _csv_start(opened, delimiter)
        except csv.Error:
            continue
        if all(name in header for name in file.wanted):
            return reader, header
    try:
        return _csv_start(opened, _DELIMITERS[0])
    except csv.Error as error:
        raise file.unreadable(f"the header: {error}") from error


def _csv_start(opened: TextIO, delimiter: str) -> tuple[Any, list[str]]:
    opened.seek(0)
    reader = csv.reader(opened, delimiter=delimiter, strict=True)
    return reader, next((fields for fields in reader if fields), [])


# JSON: one object per line, or one list of objects ------------------------------------------------------------------


def _read_json(file: _File) -> DataTable:
    first = next((raw for _, raw in file.raw_lines() if raw.strip()), b"")
    lines = array("q") if first.lstrip()[:1] != b"[" else None
    names = [*file.wanted, *file.more]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    lacking: tuple[str, str, list[str]] | None = None
    seen: set[str] = set()
    for index, (line, row) in enumerate(_objects(file, lines is None)):
        where = f"row {index + 1}"
        if lines is not None:
            lines.append(line)
            where += f" (line {line})"
        seen |= row.keys()
        for name in names:
            if name not in row and lacking is None and name in file.wanted:
                lacking = (where, name, list(row))
            columns[name].append(row.get(name))
    if lacking is not None:
        where, name, keys = lacking
        if name not in seen:
            _File(file.path, file.kind, [name], None).taken(keys)
        raise DataError(f"data.path={file.origin}: {where} has no {shown(name)} (it has {listed(keys)})")
    given = {name: column for name, column in columns.items() if name in seen or name in file.wanted}
    return DataTable(file.origin, given, True, lines)


def _objects(file: _File, is_list: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row); lines are 0 in a list."""
    if is_list:
        parsed = _parsed(file, file.path.read_bytes().removeprefix(_BYTE_ORDER_MARK), "")
        rows = ((0, f"row {number}", row) for number, row in enumerate(parsed, start=1))
    else:
        lines = ((line, raw) for line, raw in file.raw_lines() if raw.strip())
        rows = ((line, f"line {line}", _parsed(file, raw, f"line {line}")) for line, raw in lines)
    for line, where, row in rows:
        if not isinstance(row, dict):
            raise file.unreadable(f"{where} is {shown(row)}, no object {{…}}")
        yield line, row


def _parsed(file: _File, raw: bytes, where: str) -> Any:
    at = f"{where}: " if where else ""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree = dict(pairs)
        if len(tree) != len(pairs):
            keys = [key for key, _ in pairs]
            if twice := next((key for key in file.wanted if keys.count(key) > 1), None):
                raise file.unreadable(f"{at}the key {shown(twice)} stands twice in one object")
        return tree

    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        line = where or f"line {raw[: error.start].count(10) + 1}"
        raise file.unreadable(f"{line} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = on_one_line(str(error))
        raise file.unreadable(f"{at}{reason}; write one object per line, or one list of objects") from error


# Parquet -------------------------------------------------------------------------------------------------------------


def _read_parquet(file: _File) -> DataTable:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file.path) as opened:
            names = file.taken(opened.schema_arrow.names)
            columns = opened.read(columns=names)
            return DataTable(file.origin, {name: _values(file, columns.column(name), name) for name in names}, True)
    except DataError:
        raise
    except (pyarrow.ArrowException, ValueError, OverflowError, OSError) as error:
        raise file.unreadable(on_one_line(str(error))) from error


def _values(file: _File, column: Any, name: str) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        for row, value in enumerate(column, start=1):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise file.unreadable(f"row {row} of column {shown(name)} is not UTF-8") from error
        raise
