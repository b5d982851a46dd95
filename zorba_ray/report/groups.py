"""Trials of a sweep that differ only in their seed, the order of the groups, and the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.artifacts.campaigns import Metric
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord

SEED = "seed"


@dataclass(frozen=True)
class Spread:
    """Mean and range of a figure over trials."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Group:
    """Trials with the same values of every swept key but the seed; a single trial where no seed is swept."""

    values: dict[str, int | float | str | None]
    """Without the seed."""
    trials: tuple[TrialRecord, ...]

    @property
    def settled(self) -> tuple[TrialRecord, ...]:
        """Its trials that ran to the end: only these are compared."""
        return tuple(trial for trial in self.trials if trial.finished)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of its trials."""
        return tuple(trial.entry.trial for trial in self.trials)

    def spread(self, name: str) -> Spread | None:
        """Of a figure over the trials that ran to the end; None where none knows it."""
        return spread_of(self.settled, name)


def spread_of(trials: Sequence[TrialRecord], name: str) -> Spread | None:
    """Mean and range of a figure over the trials that know it; None where none does."""
    values = [value for trial in trials if (value := trial.figure(name)) is not None]
    return Spread(math.fsum(values) / len(values), min(values), max(values), len(values)) if values else None


def swept_keys(sweep: SweepRecord) -> list[str]:
    """Keys of the space that take at least two values, in the order of the sweep file; the seed stands last."""
    keys = [key for key in sweep.space if len({trial.entry.values.get(key) for trial in sweep.trials}) > 1]
    return sorted(keys, key=lambda key: key == SEED)


def group_trials(sweep: SweepRecord) -> list[Group]:
    """Best first by the first metric; groups of which no trial has ended come last, in the order of their trials."""
    found: dict[tuple[tuple[str, object], ...], list[TrialRecord]] = {}
    for trial in sweep.trials:
        found.setdefault(tuple((k, v) for k, v in trial.entry.values.items() if k != SEED), []).append(trial)
    groups = [
        Group({k: v for k, v in trials[0].entry.values.items() if k != SEED}, tuple(trials))
        for trials in found.values()
    ]

    def rank(group: Group) -> tuple[bool, float]:
        spread = group.spread(sweep.metrics[0].name)
        return (spread is None, 0.0 if spread is None else cost(spread.mean, sweep.metrics[0]))

    return sorted(groups, key=rank)


def best_trial(sweep: SweepRecord) -> TrialRecord | None:
    """Of the trials that ran to the end, else of all with a value yet; None before the first value."""
    metric = sweep.metrics[0]
    for trials in (sweep.with_status("finished"), sweep.trials):
        known = [(cost(value, metric), trial) for trial in trials if (value := trial.figure(metric.name)) is not None]
        if known:
            return min(known, key=lambda pair: pair[0])[1]
    return None


def cost(value: float, metric: Metric) -> float:
    """Turned so that less is better."""
    return value if metric.mode == "min" else -value


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one dominates, both coordinates minimised; ordered by the first. Of equal
    points all are kept."""
    order = sorted(range(len(points)), key=lambda index: points[index])
    front: list[int] = []
    lowest = math.inf
    for index in order:
        if points[index][1] < lowest or (front and points[index] == points[front[-1]]):
            front.append(index)
            lowest = points[index][1]
    return front
