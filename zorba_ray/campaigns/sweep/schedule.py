"""Early stopping by Ray Tune's schedulers, which hear of earlier sessions' trials before they judge new ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from zorba_ray.artifacts.campaigns import Trial
from zorba_ray.config import SweepConfig

_FOR_A_MEDIAN = 3
"""Trials."""


@dataclass(frozen=True)
class _Past:
    """Stands for a trial of an earlier session; schedulers ask for its id only."""

    trial_id: str


def make_scheduler(sweep: SweepConfig, rounds: int, past: Sequence[Trial]) -> TrialScheduler:
    """The sweep's scheduler.

    Args:
        rounds: of the longest trial.
        past: trials that ended in earlier sessions; their evaluations are told to the scheduler first.
    """
    settings, metric = sweep.scheduler, sweep.metric[0]
    if settings.type == "fifo":
        return FIFOScheduler()
    if settings.type == "asha":
        inner: FIFOScheduler = AsyncHyperBandScheduler(
            time_attr="round",
            metric=metric.name,
            mode=metric.mode,
            max_t=rounds,
            grace_period=settings.grace_rounds,
            reduction_factor=settings.reduction_factor,
            stop_last_trials=False,  # the last evaluation is not the end: test split, summary and report follow
        )
    else:
        inner = MedianStoppingRule(
            time_attr="round",
            metric=metric.name,
            mode=metric.mode,
            grace_period=settings.grace_rounds,
            min_samples_required=_FOR_A_MEDIAN,
        )
    return Remembering(inner, metric.name, past)


class Remembering(FIFOScheduler):
    """Passes everything on to another scheduler; before the first trial it tells it of the past."""

    def __init__(self, inner: FIFOScheduler, metric: str, past: Sequence[Trial]) -> None:
        super().__init__()
        self._inner = inner
        self._metric = metric
        self._heard: set[tuple[str, Any]] = set()
        self._past = list(past)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True  # the inner scheduler has its own

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        past, self._past = self._past, []
        for state in past:
            self._tell(tune_controller, _Past(f"earlier-{state.trial}"), state)
        self._inner.on_trial_add(tune_controller, trial)

    def _tell(self, tune_controller: Any, old: Any, state: Trial) -> None:
        """The evaluations of a trial that ended before; what the scheduler would decide now is void."""
        if isinstance(self._inner, MedianStoppingRule):
            # Its `on_trial_complete` only notes a result; `on_trial_result` would judge, and take a verdict as done.
            for report in state.curve:
                self._inner.on_trial_complete(tune_controller, old, dict(report))
            return
        self._inner.on_trial_add(tune_controller, old)
        for report in state.curve:
            self._inner.on_trial_result(tune_controller, old, dict(report))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._inner.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """A trial whose process was replaced repeats its evaluations: each counts once. Nothing is ever paused: a
        pause would load model and data again."""
        heard = (trial.trial_id, result.get("round"))
        if self._metric not in result or heard in self._heard:
            return TrialScheduler.CONTINUE
        self._heard.add(heard)
        verdict = self._inner.on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if verdict == TrialScheduler.PAUSE else verdict

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if self._metric in result and "round" in result:  # a failed trial has neither
            self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._inner.on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        return self._inner.debug_string()
