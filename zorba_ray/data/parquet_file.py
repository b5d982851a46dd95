"""Parquet, by pyarrow."""

from typing import Any

from zorba_ray.data.table_file import DataTable, TableFile
from zorba_ray.errors import DataError
from zorba_ray.printable import on_one_line, shown


def read_parquet(file: TableFile) -> DataTable:
    """The columns that were asked for.

    Raises:
        DataError: the file is not parquet, or a column is missing.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file.path) as opened:
            names = file.present_columns(opened.schema_arrow.names)
            columns = opened.read(columns=names)
            return DataTable(file.origin, {name: _values(file, columns.column(name), name) for name in names}, True)
    except DataError:
        raise
    except (pyarrow.ArrowException, ValueError, OverflowError, OSError) as error:
        raise file.unreadable(on_one_line(str(error))) from error


def parquet_names(file: TableFile) -> list[str]:
    """The columns of the schema."""
    from pyarrow import parquet

    return parquet.read_schema(file.path).names


def _values(file: TableFile, column: Any, name: str) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        for row, value in enumerate(column, start=1):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise file.unreadable(f"row {row} of column {shown(name)} is not UTF-8") from error
        raise
