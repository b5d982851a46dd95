"""What a sink of metrics is, and several of them behind one face: one that fails is switched off, the run goes on.

metrics.jsonl is no member: a run whose numbers cannot be written must stop.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)


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


class Fanout:
    """Passes every call to every sink that still works. Never raises an `Exception`; warns once per failed sink."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._working = list(monitors)

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        self._each(lambda sink: sink.start(config, provenance))

    def log(self, record: dict[str, Any]) -> None:
        self._each(lambda sink: sink.log(record))

    def artifact(self, path: Path, kind: str) -> None:
        self._each(lambda sink: sink.artifact(path, kind))

    def finish(self, summary: dict[str, Any]) -> list[str]:
        """Lines for the user, one per sink that has one (as the `wandb sync` line of an offline run)."""
        return [line for line in self._each(lambda sink: sink.finish(summary)) if line is not None]

    def _each(self, call: Callable[[Monitor], str | None]) -> list[str | None]:
        answers = []
        for sink in list(self._working):
            try:
                answers.append(call(sink))
            except Exception as error:
                self._working.remove(sink)
                logger.warning(
                    "%s failed (%s: %s) and is off from now on; metrics.jsonl has every record",
                    type(sink).__name__,
                    type(error).__name__,
                    error,
                )
        return answers
