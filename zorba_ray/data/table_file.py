"""What is read of which file, and the columns that come of it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zorba_ray.errors import DataError
from zorba_ray.printable import listed, on_one_line, shown

Kind = Literal["parquet", "json", "csv"]
KINDS: dict[str, Kind] = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""Ending -> what the file is read as."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Of UTF-8, at the beginning of some files."""


@dataclass(frozen=True)
class DataTable:
    """The columns that were asked for."""

    origin: str
    """The file, for messages."""
    columns: dict[str, list[Any]]
    """Values of each column: text from CSV, Python values of any type from JSON and parquet."""
    typed: bool
    """False for CSV, where everything is text."""
    lines: Sequence[int] | None = None
    """The line at which each row begins, from 1; None for parquet and for a JSON list."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, index: int) -> str:
        """'data.path=rows.csv: row 3 (line 4)'. Rows count from 1, without a CSV's header."""
        line = "" if self.lines is None else f" (line {self.lines[index]})"
        return f"data.path={self.origin}: row {index + 1}{line}"

    def row_of_file(self, index: int) -> str:
        """'row 3 (line 4) of rows.csv'."""
        line = "" if self.lines is None else f" (line {self.lines[index]})"
        return f"row {index + 1}{line} of {os.path.basename(self.origin)}"

    def each(self, name: str, setting: str) -> Iterator[tuple[str, Any]]:
        """The values of a column, each with where it stands, for messages that name the setting too."""
        for row, value in enumerate(self.columns[name]):
            yield f"{self.row(row)}: column {shown(name)} ({setting})", value

    def texts(self, name: str) -> list[str]:
        """A column of text.

        Raises:
            DataError: a value is missing, or is a number, a date or a list; the message names the first.
        """
        values = self.columns[name]
        for index, value in enumerate(values):
            if not isinstance(value, str):
                what = "has no text" if value is None else f"has {shown(value)} ({type(value).__name__}), not text,"
                raise DataError(
                    f"{self.row(index)} {what} in column {shown(name)}: a prompt is made of text only; write the "
                    "value as text, or leave the row out"
                )
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise DataError(
                    f"{self.row(index)}: column {shown(name)} has half of a surrogate pair, which is not a character; "
                    "write the text anew, or leave the row out"
                )
        return values


@dataclass(frozen=True)
class TableFile:
    """A file, and the columns to read from it."""

    path: Path
    kind: Kind
    wanted: list[str]
    optional: str | None

    @property
    def origin(self) -> str:
        return on_one_line(str(self.path))

    @property
    def more(self) -> list[str]:
        """The optional column, unless it is among `wanted` too."""
        return [] if self.optional is None or self.optional in self.wanted else [self.optional]

    def unreadable(self, why: str) -> DataError:
        """The error for a file that is not what its ending says."""
        return DataError(f"data.path={self.origin}: could not be read as {self.kind}: {why}")

    def present_columns(self, names: Sequence[str]) -> list[str]:
        """The columns to read, of those that the file has.

        Raises:
            DataError: a wanted column is missing, or a column to read occurs twice.
        """
        absent = next((name for name in self.wanted if name not in names), None)
        if absent is not None:
            raise DataError(
                f"data.path={self.origin} has no column {shown(absent)} (columns: {listed(names)}); "
                "set data.prompt, data.label_column or the template and columns under task accordingly"
            )
        columns = [*self.wanted, *(name for name in self.more if name in names)]
        twice = next((name for name in columns if list(names).count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"data.path={self.origin} has more than one column {shown(twice)}; rename or drop the others"
            )
        return columns

    def raw_lines(self) -> Iterator[tuple[int, bytes]]:
        """(number from 1, line), without the byte order mark of UTF-8."""
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw
