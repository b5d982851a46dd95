"""Which trial is next, as a searcher of Ray Tune: first what earlier sessions left, then new ones."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray.tune.search import Searcher

from zorba_ray.sweep.state import TrialState


class Source(Protocol):
    """Makes new trials while a sweep runs; grids and random draws are planned before and need none."""

    def next(self) -> TrialState | None:
        """A new trial, already written to the sweep's state; None: no more."""
        ...

    def tell(self, trial: TrialState) -> None:
        """A trial ended: its status and figures are known."""
        ...


def forgotten(self: Any) -> dict[str, Any]:
    """A `__getstate__`: Tune pickles its parts for a restore of its own, which a sweep never asks for."""
    return {}


class PlannedSearch(Searcher):
    """Hands out trials by number.

    Args:
        waiting: trials to run, in order.
        payload: trial -> the `config` of its Tune trial.
        source: makes more when `waiting` is empty; None: there are no more.
        ending: whether the sweep is to end; no trial is handed out then.
    """

    def __init__(
        self,
        waiting: list[TrialState],
        payload: Callable[[TrialState], dict[str, Any]],
        source: Source | None,
        ending: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._waiting = list(waiting)
        self._payload = payload
        self._source = source
        self._ending = ending

    __getstate__ = forgotten

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True  # metric and space are the plan's

    def suggest(self, trial_id: str) -> Any:
        """The next trial's `config`, or Tune's mark that there is none."""
        if self._ending():
            return Searcher.FINISHED
        if self._waiting:
            return self._payload(self._waiting.pop(0))
        fresh = self._source.next() if self._source is not None else None
        return Searcher.FINISHED if fresh is None else self._payload(fresh)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The sweep's own watch tells the source: it knows why a trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: sweep.json is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: sweep.json is the state."""
