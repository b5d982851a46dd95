"""Rows of a parquet file, with the types of its columns."""

from pathlib import Path
from typing import Any

from zorba_ray.data.quoting import legible, quoted
from zorba_ray.data.table import Table, taken_columns, unreadable
from zorba_ray.errors import DataError


def read_parquet(path: Path, origin: str, wanted: list[str], optional: str | None) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = taken_columns(origin, file.schema_arrow.names, wanted, optional)
            read = file.read(columns=names)
            columns: dict[str, list[Any]] = {}
            for name in names:
                try:
                    columns[name] = read.column(name).to_pylist()
                except UnicodeDecodeError as error:
                    row = _first_undecodable(read.column(name))
                    why = f"row {row} of column {quoted(name)} is not UTF-8"
                    raise unreadable(origin, "parquet", why) from error
    except DataError:
        raise
    except (pyarrow.ArrowException, ValueError, OverflowError, OSError) as error:
        raise unreadable(origin, "parquet", legible(str(error))) from error
    return Table(origin, columns, True)


def _first_undecodable(column: Any) -> int:
    for row, value in enumerate(column, start=1):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return row
    return 0
