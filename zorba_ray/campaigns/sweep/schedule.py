"""Early stopping by Ray Tune's schedulers. A scheduler only knows the present session; a resumed trial reports its
earlier evaluations again."""

from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from zorba_ray.config import SweepConfig

_FOR_A_MEDIAN = 3
"""Smallest number of trials for a median."""


def make_scheduler(sweep: SweepConfig, rounds: int) -> TrialScheduler:
    """The sweep's scheduler. `rounds`: number of rounds of the longest trial."""
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
        stop_last_trials=False,  # after the last evaluation the test split, summary and report still follow
    )


class _Median(MedianStoppingRule):
    """Tune's median rule without pauses: after a pause a trial would load model and data again."""

    def __init__(self, metric: str, mode: str, grace_rounds: int) -> None:
        super().__init__("round", metric, mode, grace_rounds, _FOR_A_MEDIAN)
        self._wanted = metric
        self._heard: set[tuple[str, Any]] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        heard = (trial.trial_id, result.get("round"))
        if heard in self._heard:  # a trial with a new process repeats its evaluations
            return TrialScheduler.CONTINUE
        self._heard.add(heard)
        verdict = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if verdict == TrialScheduler.PAUSE else verdict

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if self._wanted in result and "round" in result:  # a failed trial has neither
            super().on_trial_complete(tune_controller, trial, result)
