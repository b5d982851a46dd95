"""Connects Ray Tune and sweep.json: the next trial, the results of trials, and the early end of a sweep."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from zorba_ray.artifacts.campaigns import Sweep, Trial
from zorba_ray.artifacts.sweep import FIGURES
from zorba_ray.campaigns.directory import CampaignDir
from zorba_ray.campaigns.sweep.optuna_source import OptunaSource
from zorba_ray.errors import StorageError
from zorba_ray.experiment.session import Emit

_START_S = 60.0
"""If no trial could start in this many seconds, a message says why."""
_END_S = 60.0
"""Seconds in which running trials must finish their round, summary and report. Tune itself would give them ten."""
_WRITE_EVERY_S = 1.0


def stop_file(sweep: Path) -> Path:
    """While this file exists, no trial of the sweep begins another round."""
    return sweep / ".stop"


def _forgotten(self: Any) -> dict[str, Any]:
    """A `__getstate__` without state: Tune pickles its parts for its own restore, which a sweep does not use."""
    return {}


class SweepWatch(tune.Callback, Stopper):
    """Records the state of every trial, and ends the sweep if it is asked to stop or the disk is full."""

    __getstate__ = _forgotten

    def __init__(self, directory: CampaignDir[Sweep], emit: Emit, should_stop: Callable[[], bool]) -> None:
        self._directory = directory
        self._emit = emit
        self._should_stop = should_stop
        self._session = time.monotonic()
        self._earlier_s = directory.state.wall_s or 0.0
        self._started = False
        self._asked: float | None = None
        self.source: OptunaSource | None = None
        self.broken: StorageError | None = None
        """Why sweep.json could not be written. It is kept here, because Tune would lose an exception of a callback."""
        stop_file(directory.path).unlink(missing_ok=True)

    def write(self, every_s: float = 0.0) -> None:
        """Writes sweep.json; a fault is kept in `broken`."""
        self._directory.state.wall_s = self._earlier_s + time.monotonic() - self._session
        try:
            self._directory.write(every_s)
        except StorageError as error:
            self.broken = error

    def ending(self) -> bool:
        """Whether the sweep must end. The first time, trials are asked to stop."""
        if self._asked is None and (self._should_stop() or self.broken is not None):
            self._asked = time.monotonic()
            stop_file(self._directory.path).touch()
        return self._asked is not None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether Tune may end all trials: none runs any more, or their time is over."""
        if not self.ending() or self._asked is None:
            return False
        running = any(trial.status == "running" for trial in self._directory.state.trials)
        return not running or time.monotonic() - self._asked > _END_S

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Says once that no trial could start, because other work uses the cluster's resources."""
        if not self._started and time.monotonic() - self._session > _START_S:
            self._started = True
            text = f"no trial could start for {_START_S:.0f} s: other work uses the cluster; waiting"
            self._emit({"kind": "status", "text": text})

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._started = True
        state = self._state(trial)
        state.status, state.error = "running", None
        self.write()
        self._tell(state)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        state = self._state(trial)
        state.round = int(result.get("round", state.round or 0))
        state.figures = {**state.figures, **{name: result[name] for name in FIGURES if name in result}}
        self.write(_WRITE_EVERY_S)
        self._tell(state)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state, result = self._state(trial), trial.last_result or {}
        ended = result.get("ended")
        if ended == "finished":
            state.status, state.weights_sha256 = "finished", result["weights_sha256"]
        elif ended in ("failed", "diverged"):
            state.status, state.error = ended, result["error"]
        else:
            state.status = "pending" if ended == "interrupted" or self.ending() else "stopped"
        self._ended(state)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state = self._state(trial)
        lines = str(trial.get_error() or "").strip().splitlines()
        state.status, state.error = "failed", lines[-1] if lines else "its process died"
        self._ended(state)

    def _ended(self, state: Trial) -> None:
        self.write()
        if self.source is not None and state.status != "pending":
            self.source.tell(state)
        self._tell(state)

    def _tell(self, state: Trial) -> None:
        self._emit({"kind": "trial", **state.tree()})

    def _state(self, trial: Any) -> Trial:
        number = trial.config["trial"]
        return next(state for state in self._directory.state.trials if state.trial == number)


class PlannedSearch(Searcher):
    """Gives Tune the next trial: first those of earlier sessions, by number, then new ones of the source.

    Args:
        waiting: trials to run, in order.
        payload: trial -> the `config` of its Tune trial.
        watch: has the source, and knows whether the sweep must end; then no more trials are given.
    """

    __getstate__ = _forgotten

    def __init__(self, waiting: list[Trial], payload: Callable[[Trial], dict[str, Any]], watch: SweepWatch) -> None:
        super().__init__()
        self._waiting = list(waiting)
        self._payload = payload
        self._watch = watch

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True  # metric and space are those of the plan

    def suggest(self, trial_id: str) -> Any:
        """The next trial's `config`, or Tune's constant for "no more trials"."""
        if self._watch.ending():
            return Searcher.FINISHED
        if self._waiting:
            return self._payload(self._waiting.pop(0))
        fresh = self._watch.source.next() if self._watch.source is not None else None
        if fresh is None:
            return Searcher.FINISHED
        self._watch.write()
        return self._payload(fresh)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: `SweepWatch` passes results to the source."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: sweep.json is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: sweep.json is the state."""
