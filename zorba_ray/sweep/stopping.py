"""How a sweep ends early: trials are asked by a file, end after their round, and only then Tune is told."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.stopper import Stopper

from zorba_ray.sweep.search import forgotten
from zorba_ray.sweep.state import SweepDir

WAIT_S = 60.0
"""Seconds that running trials have for their round, summary and report. Tune itself would give them ten."""


def stop_file(sweep: Path) -> Path:
    """While it is there, no trial of the sweep begins another round."""
    return sweep / ".stop"


class SweepStop(Stopper):
    """Asked by the terminal, the scheduler of jobs, or a disk that is full."""

    __getstate__ = forgotten

    def __init__(self, directory: SweepDir, should_stop: Callable[[], bool]) -> None:
        self._directory = directory
        self._should_stop = should_stop
        self._asked: float | None = None
        stop_file(directory.path).unlink(missing_ok=True)

    def asked(self) -> bool:
        """Whether the sweep is to end; asks the trials the first time."""
        if self._asked is None and (self._should_stop() or self._directory.broken is not None):
            self._asked = time.monotonic()
            stop_file(self._directory.path).touch()
        return self._asked is not None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether Tune may end what is left: nothing runs any more, or it had its time."""
        if not self.asked() or self._asked is None:
            return False
        running = any(trial.status == "running" for trial in self._directory.state.trials)
        return not running or time.monotonic() - self._asked > WAIT_S
