"""`Monitor`, the interface of trackers, and `Fanout`, which calls several of them. A tracker that fails is switched
off.

metrics.jsonl is not a tracker: if it cannot be written, the run must stop.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)


class Monitor(Protocol):
    """A tracker of runs. Its methods may raise: `Fanout` then switches it off, and the run goes on."""

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


class Fanout:
    """Passes every call to every tracker that still works. Never raises; warns once for each tracker that fails."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._working = list(monitors)

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        self._each(lambda sink: sink.start(config, provenance))

    def log(self, record: dict[str, Any]) -> None:
        self._each(lambda sink: sink.log(record))

    def artifact(self, path: Path, kind: str) -> None:
        self._each(lambda sink: sink.artifact(path, kind))

    def finish(self, summary: dict[str, Any]) -> list[str]:
        """Lines for the user, at most one per tracker, such as the `wandb sync` command of an offline run."""
        return [line for line in self._each(lambda sink: sink.finish(summary)) if line is not None]

    def _each(self, call: Callable[[Monitor], str | None]) -> list[str | None]:
        answers = []
        for sink in list(self._working):
            try:
                answers.append(call(sink))
            except Exception as error:
                self._working.remove(sink)
                logger.warning(
                    "%s failed (%s: %s) and is switched off; metrics.jsonl still gets every record",
                    type(sink).__name__,
                    type(error).__name__,
                    error,
                )
        return answers
