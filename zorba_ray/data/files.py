"""One file of rows -> columns, as they stand in the file: no value is guessed, converted or filled in."""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from zorba_ray.data.csv_rows import read_csv
from zorba_ray.data.json_rows import read_json
from zorba_ray.data.parquet_rows import read_parquet
from zorba_ray.data.quoting import legible
from zorba_ray.data.table import Table
from zorba_ray.errors import DataError

Kind = Literal["parquet", "json", "csv"]
KINDS: dict[str, Kind] = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
"""Ending -> what the file is read as."""

_READERS = {"csv": read_csv, "json": read_json, "parquet": read_parquet}


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
