"""Columns of a file of rows, and what is refused of them whatever the format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.data.quoting import listed, quoted
from zorba_ray.errors import DataError


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


def unreadable(origin: str, kind: str, why: str) -> DataError:
    """The error for a file that is not what its ending says."""
    return DataError(f"data.path={origin}: could not be read as {kind}: {why}")


def taken_columns(origin: str, names: Sequence[str], wanted: list[str], optional: str | None) -> list[str]:
    """The columns to read: `wanted`, and `optional` where the file has it.

    Raises:
        DataError: a wanted one is missing, or one of them is there twice.
    """
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
