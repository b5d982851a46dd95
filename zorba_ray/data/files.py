"""One file of rows -> columns, as they stand in the file: no value is guessed, converted or filled in."""

import csv
import json
import stat
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from zorba_ray.data.quoting import legible, listed, quoted
from zorba_ray.errors import DataError

Kind = Literal["parquet", "json", "csv"]
KINDS: dict[str, Kind] = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""Ending -> what the file is read as."""

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Table:
    """The columns that were asked for."""

    origin: str
    """The file, for messages."""
    columns: dict[str, list[Any]]
    """Values as Python has them: text in CSV, what JSON and parquet say else."""
    typed: bool
    """False for CSV, where everything is text."""
    lines: Sequence[int] | None = None
    """Where each row begins, counted from 1; None for parquet."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, place: int) -> str:
        """'data.path=rows.csv: row 3 (line 4)'; rows count from 1, and a CSV's header is none of them."""
        line = "" if self.lines is None else f" (line {self.lines[place]})"
        return f"data.path={self.origin}: row {place + 1}{line}"

    def texts(self, name: str) -> list[str]:
        """A column of text.

        Raises:
            DataError: the first value that is none: a number, a date, a list, nothing at all.
        """
        values = self.columns[name]
        for place, value in enumerate(values):
            if not isinstance(value, str):
                what = "has no text" if value is None else f"holds {quoted(value)} ({type(value).__name__}), no text,"
                raise DataError(
                    f"{self.row(place)} {what} in column {quoted(name)}: data.prompt takes text as it stands; "
                    "write it as text, or leave the row out"
                )
            if not value.isascii() and not _encodable(value):
                raise DataError(
                    f"{self.row(place)}: column {quoted(name)} holds half of a surrogate pair, which is no character"
                )
        return values


def read_table(path: Path, kind: Kind, wanted: Sequence[str], optional: str | None = None) -> Table:
    """Reads the columns `wanted`, and `optional` where the file has it.

    Raises:
        DataError: no such column, no rows, two columns of a wanted name, a row of another width, bytes that are not
            UTF-8, or a file that is not of its kind; names the file and, where there is one, row and line.
    """
    origin = legible(str(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"data.path={origin}: no ordinary file")
        if status.st_size == 0:
            raise DataError(f"data.path={origin}: the file is empty")
        table = _READERS[kind](path, origin, list(dict.fromkeys(wanted)), optional)
    except OSError as error:  # pyarrow's faults of a file are among them
        reason = error.strerror or legible(str(error))
        raise DataError(f"data.path={origin}: cannot be read ({reason})") from error
    if not len(table):
        raise DataError(f"data.path={origin}: the file is empty: it has no rows")
    return table


def _unreadable(origin: str, kind: Kind, why: str) -> DataError:
    return DataError(f"data.path={origin}: could not be read as {kind}: {why}")


def _take(origin: str, names: Sequence[str], wanted: list[str], optional: str | None) -> list[str]:
    """The columns to read, each of which the file has once."""
    absent = next((name for name in wanted if name not in names), None)
    if absent is not None:
        raise DataError(
            f"data.path={origin} has no column {quoted(absent)} (columns: {listed(names)}); "
            "set data.prompt and data.label_column accordingly"
        )
    taken = wanted if optional is None or optional in wanted or optional not in names else [*wanted, optional]
    twice = next((name for name in taken if list(names).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"data.path={origin} has more than one column {quoted(twice)}; rename or drop the others")
    return taken


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# CSV ----------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, origin: str, wanted: list[str], optional: str | None) -> Table:
    """RFC 4180 with `,`, `;` or tabs between the fields: the first of them by which the header has what is wanted."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _csv_rows(file, origin, wanted, optional)
    except UnicodeDecodeError as error:
        line = next((number for number, raw in _raw_lines(path) if not _decodable(raw)), 1)
        raise _unreadable(origin, "csv", f"line {line} is not UTF-8; save the file as UTF-8") from error
    finally:
        csv.field_size_limit(limit)


def _csv_rows(file: TextIO, origin: str, wanted: list[str], optional: str | None) -> Table:
    reader, header = _header(file, origin, wanted)
    if not header:
        raise DataError(f"data.path={origin}: the file is empty")
    names = _take(origin, header, wanted, optional)
    columns: list[list[str]] = [[] for _ in names]
    places = [header.index(name) for name in names]
    lines = array("q")
    start, row = reader.line_num + 1, 0
    try:
        for fields in reader:
            if fields:  # else a line without anything on it
                row += 1
                if len(fields) != len(header):
                    raise _unreadable(
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
        raise _unreadable(
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
        raise _unreadable(origin, "csv", f"the header: {error}") from error


def _first_row(file: TextIO, delimiter: str) -> tuple[Any, list[str]]:
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    return reader, next((fields for fields in reader if fields), [])


# JSON ---------------------------------------------------------------------------------------------------------------


def _read_json(path: Path, origin: str, wanted: list[str], optional: str | None) -> Table:
    """One object per line, or one list of objects."""
    first = next((raw for _, raw in _raw_lines(path) if raw.strip()), b"")
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
            _take(origin, keys, [name], None)
        raise DataError(f"data.path={origin}: {where} has no {quoted(name)} (it has {listed(keys)})")
    if optional is not None and optional not in seen and optional not in wanted:
        del columns[optional]
    return Table(origin, columns, True, lines)


def _objects(path: Path, origin: str, wanted: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, raw in _raw_lines(path):
        if raw.strip():
            row = _parsed(raw, origin, f"line {line}", wanted)
            if not isinstance(row, dict):
                raise _unreadable(origin, "json", f"line {line} is {quoted(row)}, no object {{…}}")
            yield line, row


def _object_list(path: Path, origin: str, wanted: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = _parsed(path.read_bytes().removeprefix(_BOM), origin, "", wanted)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _unreadable(origin, "json", f"row {place + 1} is {quoted(row)}, no object {{…}}")
        yield 0, row


def _parsed(raw: bytes, origin: str, where: str, wanted: list[str]) -> Any:
    at = f"{where}: " if where else ""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            if twice := next((key for key in wanted if keys.count(key) > 1), None):
                raise _unreadable(origin, "json", f"{at}the key {quoted(twice)} stands twice in one object")
        return found

    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except UnicodeDecodeError as error:
        place = where or f"line {raw[: error.start].count(10) + 1}"
        raise _unreadable(origin, "json", f"{place} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason = legible(str(error))
        raise _unreadable(origin, "json", f"{at}{reason}; write one object per line, or one list of objects") from error


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            yield number, raw.removeprefix(_BOM) if number == 1 else raw


def _decodable(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# parquet ------------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path, origin: str, wanted: list[str], optional: str | None) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = _take(origin, file.schema_arrow.names, wanted, optional)
            read = file.read(columns=names)
            columns: dict[str, list[Any]] = {}
            for name in names:
                try:
                    columns[name] = read.column(name).to_pylist()
                except UnicodeDecodeError as error:
                    row = _first_undecodable(read.column(name))
                    why = f"row {row} of column {quoted(name)} is not UTF-8"
                    raise _unreadable(origin, "parquet", why) from error
    except DataError:
        raise
    except (pyarrow.ArrowException, ValueError, OverflowError, OSError) as error:
        raise _unreadable(origin, "parquet", legible(str(error))) from error
    return Table(origin, columns, True)


def _first_undecodable(column: Any) -> int:
    for row, value in enumerate(column, start=1):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return row
    return 0


_READERS = {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet}
