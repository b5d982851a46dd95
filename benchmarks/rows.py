"""A measured row, and how rows are printed."""

import functools
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Row:
    """One measured figure against its goal. `met` is None where there is no goal, `value` NaN where nothing ran."""

    row: str
    value: float
    unit: str
    goal: str
    met: bool | None
    device: str
    commit: str
    min: float
    median: float
    max: float
    details: Mapping[str, str] = field(default_factory=dict)
    """What belongs to the figure: name -> text, each printed on a line below the row."""


def make_row(
    row: str,
    values: Sequence[float],
    unit: str,
    goal: str,
    met: bool | None,
    device: str = "cpu",
    details: Mapping[str, str] | None = None,
) -> Row:
    """A row whose value is the median of `values`, on this machine at this commit."""
    ordered = sorted(values)
    median = ordered[len(ordered) // 2]
    return Row(row, median, unit, goal, met, device, commit(), ordered[0], median, ordered[-1], details or {})


def to_json(rows: Sequence[Row]) -> str:
    """One JSON list; a value that was not measured is null."""
    plain = [{key: None if value != value else value for key, value in asdict(row).items()} for row in rows]
    return json.dumps(plain, indent=1)


def print_rows(rows: Sequence[Row], as_json: bool) -> None:
    """A table, or one JSON list."""
    if as_json:
        print(to_json(rows))
        return
    for row in rows:
        if math.isnan(row.value):
            print(f"{row.row}: {row.device}  (goal: {row.goal})")
            _print_details(row)
            continue
        verdict = "" if row.met is None else "  met" if row.met else "  MISSED"
        spread = "" if row.min == row.max else f"  [{row.min:.4g} … {row.max:.4g}]"
        print(f"{row.row}: {row.value:.4g} {row.unit}{spread}  (goal: {row.goal}){verdict}")
        _print_details(row)


def _print_details(row: Row) -> None:
    for name, text in row.details.items():
        print(f"    {name}: {text}")


def not_run(row: str, unit: str, goal: str, why: str = "not run on a GPU") -> Row:
    """A row without figures: its value is NaN and its device says why."""
    return Row(row, math.nan, unit, goal, None, why, commit(), math.nan, math.nan, math.nan)


@functools.cache
def commit() -> str:
    """The commit of the files here, short; `unknown` outside git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
        return found.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
