"""Early stopping by Ray Tune's schedulers. They judge a session's trials; a resumed trial reports its past again."""

from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from zorba_ray.config import SweepConfig

_FOR_A_MEDIAN = 3
"""Trials."""


def make_scheduler(sweep: SweepConfig, rounds: int) -> TrialScheduler:
    """The sweep's scheduler; `rounds`: of the longest trial."""
    settings, metric = sweep.scheduler, sweep.metric[0]
    if settings.type == "fifo":
        return FIFOScheduler()
    if settings.type == "median":
        return _Median(metric.name, metric.mode, settings.grace_rounds)
    return AsyncHyperBandScheduler(
        time_attr="round",
        metric=metric.name,
        mode=metric.mode,
        max_t=rounds,
        grace_period=settings.grace_rounds,
        reduction_factor=settings.reduction_factor,
        stop_last_trials=False,  # the last evaluation is not the end: test split, summary and report follow
    )


class _Median(MedianStoppingRule):
    """Tune's rule, without its pauses, which would load model and data again."""

    def __init__(self, metric: str, mode: str, grace_rounds: int) -> None:
        super().__init__("round", metric, mode, grace_rounds, _FOR_A_MEDIAN)
        self._wanted = metric
        self._heard: set[tuple[str, Any]] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        heard = (trial.trial_id, result.get("round"))
        if heard in self._heard:  # a trial whose process was replaced repeats its evaluations
            return TrialScheduler.CONTINUE
        self._heard.add(heard)
        verdict = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if verdict == TrialScheduler.PAUSE else verdict

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if self._wanted in result and "round" in result:  # a failed trial has neither
            super().on_trial_complete(tune_controller, trial, result)
