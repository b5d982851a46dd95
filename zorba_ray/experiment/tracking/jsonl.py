"""metrics.jsonl: one JSON object per line, appended and flushed; the truth for reports.

A kill can tear the last line and nothing else. A torn line is one that does not end in a line feed or is not JSON.
"""

import json
import os
from pathlib import Path
from typing import Any

from zorba_ray.errors import RunDirError


class JsonlMonitor:
    """Appends records to a file. A torn tail left by a kill is cut off before the first record is added."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists():
            _cut_torn_tail(self.path)

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        """Nothing to do: settings and provenance have files of their own."""

    def log(self, record: dict[str, Any]) -> None:
        """Writes one line and hands it to the operating system.

        Raises:
            OSError: the file cannot be written.
        """
        line = json.dumps(record, ensure_ascii=False) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def artifact(self, path: Path, kind: str) -> None:
        """Nothing to do: the files lie beside this one."""

    def finish(self, summary: dict[str, Any]) -> str | None:
        """Nothing to do: summary.json has the summary."""
        return None


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl in file order; a torn last line is left out.

    Raises:
        RunDirError: a line other than the last is no record; names file and line number.
        OSError: the file cannot be read.
    """
    lines = Path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _parse(line)
        if record is not None:
            records.append(record)
        elif any(later.strip() for later in lines[number:]):
            raise RunDirError(f"{path}, line {number}: not a record; only the last line may be torn by a kill")
    return records


def keep_rounds(path: str | Path, last_round: int) -> None:
    """Rewrites the file so that every round, and every evaluation of a round and split, up to `last_round` stands once.

    Of duplicates the first is kept; records keep their order. The file is replaced at once: a kill leaves the old or
    the new one.

    Raises:
        RunDirError: as `read_records`.
        OSError: the file cannot be read or replaced.
    """
    path = Path(path)
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in read_records(path):
        if record["round"] <= last_round:
            first.setdefault((record["kind"], record["round"], record.get("split")), record)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in first.values())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _parse(line: bytes) -> dict[str, Any] | None:
    """None where it is no record: an object of a kind and a round, and of a split where it is an evaluation."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return None
    if not isinstance(record.get("round"), int) or not isinstance(record.get("split", ""), str):
        return None
    return record if record["kind"] != "eval" or "split" in record else None


def _cut_torn_tail(path: Path) -> None:
    with path.open("r+b") as file:
        content = file.read()
        if not content or content.endswith(b"\n"):
            return
        whole, _, tail = content.rpartition(b"\n")
        if _parse(tail) is not None:
            file.write(b"\n")  # a whole record that lacks its line feed only
        else:
            file.truncate(len(whole) + 1 if whole else 0)
