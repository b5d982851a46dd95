"""Trials of a sweep: named, grouped over their seeds, ranked, and the Pareto front of the groups."""

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
    """Trials with the same values of every swept key but the seed; a single trial where no seed is swept."""

    values: dict[str, int | float | str | None]
    """Without the seed."""
    trials: tuple[TrialRecord, ...]

    @property
    def settled(self) -> tuple[TrialRecord, ...]:
        """Its trials that ran to the end: only these are compared."""
        return tuple(trial for trial in self.trials if trial.finished)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Of the settled trials."""
        return tuple(trial.run for trial in self.settled if trial.run is not None)

    def spread(self, name: str) -> Spread | None:
        """Of a figure over the trials that ran to the end; None where none knows it."""
        return spread_of(self.settled, name)


def spread_of(trials: Sequence[TrialRecord], name: str) -> Spread | None:
    """A figure over the trials that know it; None where none does."""
    return Spread.of(trial.figure(name) for trial in trials)


def swept_keys(sweep: SweepRecord) -> list[str]:
    """Keys of the space that take at least two values, in the order of the sweep file; the seed stands last."""
    keys = [key for key in sweep.space if len({trial.entry.values.get(key) for trial in sweep.trials}) > 1]
    return sorted(keys, key=lambda key: key == SEED)


def group_trials(sweep: SweepRecord) -> list[Group]:
    """Best first by the first metric; groups of which no trial has ended come last, in the order of their trials."""
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
    """Best first by the first metric, then those without a value, then those that failed or diverged."""
    metric = sweep.metrics[0]

    def rank(trial: TrialRecord) -> tuple[bool, float]:
        value = trial.figure(metric.name)
        return trial.broken, math.inf if value is None else cost(value, metric)

    return sorted(sweep.trials, key=rank)


def best_trial(sweep: SweepRecord) -> TrialRecord | None:
    """Of the trials that ran to the end, else of those under way with a value yet; None before the first value."""
    known = [trial for trial in ranked(sweep) if trial.figure(sweep.metrics[0].name) is not None and not trial.broken]
    return next((trial for trial in known if trial.finished), known[0] if known else None)


def cost(value: float, metric: Metric) -> float:
    """Turned so that less is better."""
    return value if metric.mode == "min" else -value


def traded(sweep: SweepRecord) -> Metric:
    """What the first metric is traded against: the second one, or the fleet's VRAM."""
    return sweep.metrics[1] if len(sweep.metrics) > 1 else Metric(name=VRAM, mode="min")


def best_trials(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one dominates, both coordinates minimised; ordered by the first. Of equal
    points all are kept."""
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
    """The last part of a dotted key where no other swept key ends on it."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def values_text(values: Mapping[str, int | float | str | None], keys: Sequence[str]) -> str:
    """As in 'epsilon 0.5, fleet equal'; only the swept keys."""
    return ", ".join(f"{key_name(key, keys)} {text_swept(values[key])}" for key in keys if key in values)


def tip(title: str, figures: Mapping[str, float | None]) -> str:
    """What stands beside a point: `title`, and a line per figure that is known."""
    known = [f"{figure_name(name)}: {text_figure(name, value)}" for name, value in figures.items() if value is not None]
    return "\n".join([title, *known])
