"""What the sweep's driver hears from Ray Tune becomes sweep.json and lines for the user."""

import time
from collections.abc import Callable
from typing import Any

from ray import tune

from zorba_ray.sweep.search import Source, forgotten
from zorba_ray.sweep.state import FIGURES, SweepDir, TrialState

Emit = Callable[[dict[str, Any]], None]
"""Receives {"kind": "trial", …}, {"kind": "status", "text": …} and at the end {"kind": "sweep", …}."""

_WAIT_S = 60.0
_ALL_FIGURES = (*FIGURES, "f1", "fleet_vram_bytes", "worst_share")


class Watch(tune.Callback):
    """Keeps the state of every trial."""

    __getstate__ = forgotten

    def __init__(self, directory: SweepDir, source: Source | None, emit: Emit, ending: Callable[[], bool]) -> None:
        self._directory = directory
        self._source = source
        self._emit = emit
        self._ending = ending
        self._began = time.monotonic()
        self._started = False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Says once that nothing could start: the resources exist, but somebody else holds them."""
        if not self._started and time.monotonic() - self._began > _WAIT_S:
            self._started = True
            self._emit(
                {
                    "kind": "status",
                    "text": f"no trial could start for {_WAIT_S:.0f} s: the cluster is occupied; waiting",
                }
            )

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._started = True
        state = self._state(trial)
        state.status, state.error = "running", None
        state.curve = []
        self._directory.write()
        self._tell(state)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        state = self._state(trial)
        state.round = int(result.get("round", state.round))
        state.figures = {**state.figures, **{name: result[name] for name in _ALL_FIGURES if name in result}}
        if not result.get("ended"):
            names = ("round", "validation_loss", "validation_accuracy")
            state.curve.append({name: result.get(name) for name in names})
        self._directory.write(force=False)
        self._tell(state)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state, result = self._state(trial), trial.last_result or {}
        ended = result.get("ended")
        if ended == "finished":
            state.status, state.weights_sha256 = "finished", result["weights_sha256"]
        elif ended == "failed":
            state.status, state.error = "failed", result["error"]
        else:
            state.status = "pending" if ended == "interrupted" or self._ending() else "stopped"
        self._ended(state)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state = self._state(trial)
        lines = str(trial.get_error() or "").strip().splitlines()
        state.status, state.error = "failed", lines[-1] if lines else "its process died"
        self._ended(state)

    def _ended(self, state: TrialState) -> None:
        self._directory.write()
        if self._source is not None and state.status != "pending":
            self._source.tell(state)
        self._tell(state)

    def _tell(self, state: TrialState) -> None:
        self._emit({"kind": "trial", **state.model_dump(mode="json", exclude={"curve", "picks"})})

    def _state(self, trial: Any) -> TrialState:
        number = trial.config["trial"]
        return next(state for state in self._directory.state.trials if state.trial == number)
