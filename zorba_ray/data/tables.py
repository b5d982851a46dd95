"""One file of rows -> columns, as they stand in the file: no value is guessed, converted or filled in.

`pandas` and `datasets` guess types and take `NA` for nothing, and none of them says in which line a fault is.
"""

import stat
from collections.abc import Sequence
from pathlib import Path

from zorba_ray.data.csv_file import csv_names, read_csv
from zorba_ray.data.json_file import json_names, read_json
from zorba_ray.data.parquet_file import parquet_names, read_parquet
from zorba_ray.data.table_file import DataTable, Kind, TableFile
from zorba_ray.errors import DataError
from zorba_ray.printable import on_one_line


def read_table(path: Path, kind: Kind, wanted: Sequence[str], optional: str | None = None) -> DataTable:
    """Reads the columns `wanted`, and `optional` where the file has it.

    Raises:
        DataError: no such column, no rows, two columns of a wanted name, a row of another width, bytes that are not
            UTF-8, or a file that is not of its kind; names the file and, where there is one, row and line.
    """
    file = TableFile(path, kind, list(dict.fromkeys(wanted)), optional)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"data.path={file.origin}: no ordinary file")
        if status.st_size == 0:
            raise DataError(f"data.path={file.origin}: the file is empty")
        table = {"csv": read_csv, "json": read_json, "parquet": read_parquet}[kind](file)
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
    file = TableFile(path, kind, [], None)
    try:
        return {"csv": csv_names, "json": json_names, "parquet": parquet_names}[kind](file)
    except (OSError, ValueError) as error:  # pyarrow's faults and bytes that are no UTF-8 are among them
        raise file.unreadable(on_one_line(str(error))) from error
