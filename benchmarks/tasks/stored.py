"""Rows that are measured without a run, each kept as JSON beside the runs."""

import json
from collections.abc import Callable
from dataclasses import asdict

from benchmarks.rows import Row, not_run
from benchmarks.tasks.training import results


def stored(name: str, measure: Callable[[], Row], run: bool = True) -> Row:
    """The row in NAME.json, or a new one, which is written there unless it has no figure.

    Args:
        run: whether to measure a row that is not there.
    """
    file = results() / f"{name}.json"
    if file.exists():
        return Row(**json.loads(file.read_text(encoding="utf-8")))
    if not run:
        return not_run(name, "", "sameness", "not measured yet")
    row = measure()
    if row.value == row.value:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(row), indent=1), encoding="utf-8")
    return row
