"""The owner of each training example, as the data says it: `01` and `1` are two."""

from collections.abc import Sequence
from typing import Any

from zorba_ray.data.quoting import quoted
from zorba_ray.data.table import Table
from zorba_ray.errors import DataError


def column_owners(tables: Sequence[Table], column: str) -> list[str] | None:
    """A column of owners, row by row; None where the first table has no such column.

    Raises:
        DataError: an owner that is missing, empty, or of another type than the first.
    """
    if column not in tables[0].columns:
        return None
    first: type[Any] | None = None
    owners = []
    for table in tables:
        if column not in table.columns:
            raise DataError(f"data.path={table.origin} has no column {quoted(column)} (data.partition_column)")
        for row, value in enumerate(table.columns[column]):
            if value is None or value != value or (isinstance(value, str) and not value.strip()):
                raise DataError(
                    f"{table.row(row)} has no owner in column {quoted(column)} (data.partition_column); name one, or "
                    "leave the row out"
                )
            first = first or type(value)
            if type(value) is not first or not isinstance(value, (str, int, float)):
                raise DataError(
                    f"{table.row(row)}: owner {quoted(value)} in column {quoted(column)} is of the type "
                    f"{type(value).__name__}; write all owners as text, or all as whole numbers"
                )
            owners.append(str(value))
    return owners
