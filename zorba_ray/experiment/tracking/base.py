"""What a sink of metrics is."""

from pathlib import Path
from typing import Any, Protocol


class Monitor(Protocol):
    """A place that hears of a run. May raise anywhere: `Fanout` turns a raising sink off, the run goes on."""

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        """Called once per session, before the first record; resolved settings and provenance.json."""
        ...

    def log(self, record: dict[str, Any]) -> None:
        """Takes one record of metrics.jsonl (`kind` is `round` or `eval`). Must not change it."""
        ...

    def artifact(self, path: Path, kind: str) -> None:
        """Takes a finished file; `kind` is its type in one word, as in `allocation`, `ledger`, `report`."""
        ...

    def finish(self, summary: dict[str, Any]) -> str | None:
        """Called once, with summary.json. Returns a line for the user, or None."""
        ...
