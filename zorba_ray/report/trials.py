"""Trials of a sweep: names, groups over seeds, ranks, and the Pareto front of the groups."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zorba_ray.artifacts import Run
from zorba_ray.artifacts.campaigns import Metric
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.tables import Spread
from zorba_ray.tables.text import figure_name, text_figure, text_swept

SEED, VRAM = "seed", "fleet_vram_bytes"


@dataclass(frozen=True)
class Group:
    """Trials with the same values of all swept keys except the seed; a single trial if the seed is not swept."""

    values: dict[str, int | float | str | None]
    """Swept key -> value, without the seed."""
    trials: tuple[TrialRecord, ...]

    @property
    def settled(self) -> tuple[TrialRecord, ...]:
        """Its finished trials; only these are compared."""
        return tuple(trial for trial in self.trials if trial.finished)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of the finished trials."""
        return tuple(trial.run for trial in self.settled if trial.run is not None)

    def spread(self, name: str) -> Spread | None:
        """The spread of a figure over the finished trials; None if no trial has it."""
        return spread_of(self.settled, name)


def spread_of(trials: Sequence[TrialRecord], name: str) -> Spread | None:
    """The spread of a figure over the trials that have it; None if no trial has it."""
    return Spread.of(trial.figure(name) for trial in trials)


def swept_keys(sweep: SweepRecord) -> list[str]:
    """Keys of the space with at least two values, in the order of the sweep file; the seed is last."""
    keys = [key for key in sweep.space if len({trial.entry.values.get(key) for trial in sweep.trials}) > 1]
    return sorted(keys, key=lambda key: key == SEED)


def group_trials(sweep: SweepRecord) -> list[Group]:
    """The groups, best first by the first metric. Groups without a finished trial are last, in order of their
    trials."""
    together: dict[tuple[tuple[str, object], ...], list[TrialRecord]] = {}
    for trial in sweep.trials:
        together.setdefault(tuple((k, v) for k, v in trial.entry.values.items() if k != SEED), []).append(trial)
    groups = [
        Group({k: v for k, v in trials[0].entry.values.items() if k != SEED}, tuple(trials))
        for trials in together.values()
    ]

    def rank(group: Group) -> float:
        spread = group.spread(sweep.metrics[0].name)
        return math.inf if spread is None else cost(spread.mean, sweep.metrics[0])

    return sorted(groups, key=rank)


def ranked(sweep: SweepRecord) -> list[TrialRecord]:
    """The trials, best first by the first metric; then those without a value; then those that failed or diverged."""
    metric = sweep.metrics[0]

    def rank(trial: TrialRecord) -> tuple[bool, float]:
        value = trial.figure(metric.name)
        return trial.broken, math.inf if value is None else cost(value, metric)

    return sorted(sweep.trials, key=rank)


def best_trial(sweep: SweepRecord) -> TrialRecord | None:
    """The best finished trial; if none is finished, the best one with a value so far; None before the first value."""
    valued = [trial for trial in ranked(sweep) if trial.figure(sweep.metrics[0].name) is not None and not trial.broken]
    return next((trial for trial in valued if trial.finished), valued[0] if valued else None)


def cost(value: float, metric: Metric) -> float:
    """The value with its sign changed if more is better, so that less is always better."""
    return value if metric.mode == "min" else -value


def traded(sweep: SweepRecord) -> Metric:
    """The second axis of the Pareto front: the second metric, or the fleet's VRAM."""
    return sweep.metrics[1] if len(sweep.metrics) > 1 else Metric(name=VRAM, mode="min")


def best_trials(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point dominates, if both coordinates are minimised; ordered by the first. All
    of several equal points are kept."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        last = points[front[-1]] if front else (math.inf, math.inf)
        if points[index][1] < last[1] or points[index] == last:
            front.append(index)
    return front


def figure_title(name: str) -> str:
    """'validation_loss' -> 'Validation loss'."""
    return figure_name(name)[0].upper() + figure_name(name)[1:]


def key_name(key: str, keys: Sequence[str]) -> str:
    """The last part of a dotted key; the whole key if another swept key has the same last part."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def values_text(values: Mapping[str, int | float | str | None], keys: Sequence[str]) -> str:
    """As 'epsilon 0.5, fleet equal'; only the keys in `keys`."""
    return ", ".join(f"{key_name(key, keys)} {text_swept(values[key])}" for key in keys if key in values)


def tip(title: str, figures: Mapping[str, float | None]) -> str:
    """The tooltip of a point: `title`, and a line per known figure."""
    lines = [f"{figure_name(name)}: {text_figure(name, value)}" for name, value in figures.items() if value is not None]
    return "\n".join([title, *lines])
