"""What the caller of a run is told while it goes on, and asked for when it ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Emit = Callable[[dict[str, Any]], None]
"""Receives every metrics record, and {"kind": "status", "text": …} between them."""

Closing = Callable[[Path], Path]
"""Writes the report of the run directory that it is given; returns the file."""


def close_report(closing: Closing | None, path: Path, note: Callable[[str], None]) -> None:
    """A report is a view of the run directory: its failure must not turn a finished run into a failed one."""
    if closing is None:
        return
    try:
        closing(path)
    except Exception as error:
        note(f"warning: report.html could not be written ({error}); try `zorba-ray report {path}`")
