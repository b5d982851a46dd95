"""Several sinks behind one face; a sink that fails is switched off and the run goes on.

metrics.jsonl is no member: a run whose numbers cannot be written must stop.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zorba_ray.experiment.tracking.base import Monitor

logger = logging.getLogger(__name__)


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
        answers, working = [], []
        for sink in self._working:
            try:
                answers.append(call(sink))
            except Exception as error:
                name = type(sink).__name__
                logger.warning(
                    "%s failed (%s: %s) and is off from now on; metrics.jsonl has every record",
                    name,
                    type(error).__name__,
                    error,
                )
            else:
                working.append(sink)
        self._working = working
        return answers
