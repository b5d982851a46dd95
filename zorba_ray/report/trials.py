"""Trials of a sweep: named, grouped over their seeds, ranked, and the Pareto front of the groups."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zorba_ray.artifacts.campaigns import Metric
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.tables import Spread
from zorba_ray.tables.text import text_figure, text_swept

SEED, VRAM = "seed", "fleet_vram_bytes"
FLEET_VRAM = Metric(name=VRAM, mode="min")
"""What a metric is traded against."""

_NAMES = {
    VRAM: "fleet VRAM",
    "worst_share": "VRAM share",
    "bytes_up_per_client_round": "bytes up",
    "bytes_down_per_client_round": "bytes down",
    "wall_s": "wall time",
    "cpu_s": "CPU time",
}


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


def levels(trials: Sequence[TrialRecord], metric: Metric, count: int) -> dict[int, int]:
    """Trial -> 0 (best) … count − 1 (worst) by its rank in the metric; trials without a value are left out."""
    known = [(cost(value, metric), t.entry.trial) for t in trials if (value := t.figure(metric.name)) is not None]
    order = sorted(value for value, _ in known)
    top = max(1, len(order) - 1)
    return {trial: round(order.index(value) / top * (count - 1)) for value, trial in known}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one dominates, both coordinates minimised; ordered by the first. Of equal
    points all are kept."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        last = points[front[-1]] if front else (math.inf, math.inf)
        if points[index][1] < last[1] or points[index] == last:
            front.append(index)
    return front


def front_names(groups: Sequence[Group], metric: Metric, other: Metric = FLEET_VRAM) -> dict[int, str]:
    """Index of a group on the front of `other` and `metric` -> its letter, by rising cost in `other`: A … Z, AA …"""
    known = [
        (index, (cost(x.mean, other), cost(y.mean, metric)))
        for index, group in enumerate(groups)
        if (x := group.spread(other.name)) and (y := group.spread(metric.name))
    ]
    front = pareto_front([point for _, point in known])
    return {known[at][0]: (chr(64 + order // 26) if order >= 26 else "") + chr(65 + order % 26)
            for order, at in enumerate(front)}  # fmt: skip


def figure_name(name: str) -> str:
    """'validation_loss' -> 'validation loss'."""
    return _NAMES.get(name, name.replace("_", " "))


def figure_title(name: str) -> str:
    """'validation_loss' -> 'Validation loss'."""
    return figure_name(name)[0].upper() + figure_name(name)[1:]


def key_name(key: str, keys: Sequence[str]) -> str:
    """The last part of a dotted key where no other swept key ends on it."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def values_text(values: dict[str, int | float | str | None], keys: Sequence[str]) -> str:
    """As in 'epsilon 0.5, fleet equal'; only the swept keys."""
    return ", ".join(f"{key_name(key, keys)} {text_swept(values[key])}" for key in keys if key in values)


def status_text(status: str) -> str:
    """'stopped' is an early end by the scheduler."""
    return "stopped early" if status == "stopped" else status


def trial_text(sweep: SweepRecord, trial: TrialRecord, keys: Sequence[str]) -> str:
    """Lines of a trial's tip."""
    lines = [f"Trial {trial.entry.trial}: {values_text(trial.entry.values, keys)}"]
    lines += _figure_lines(sweep, ["test_accuracy", VRAM], lambda name: Spread.of([trial.figure(name)]))
    if not trial.finished:
        lines.append(f"{status_text(trial.entry.status)}, round {trial.round}")
    return "\n".join(lines)


def group_text(sweep: SweepRecord, group: Group, keys: Sequence[str], extra: str) -> str:
    """Lines of a group's tip."""
    lines = [values_text(group.values, keys) or "all trials", *_figure_lines(sweep, [VRAM], group.spread)]
    return "\n".join([*lines, f"trial{'s' * (len(group.trials) > 1)} {', '.join(map(str, group.numbers))}", extra])


def _figure_lines(sweep: SweepRecord, others: Sequence[str], spread_of: Callable[[str], Spread | None]) -> list[str]:
    """The sweep's metrics and `others`, with their range over several seeds; unknown ones are left out."""
    lines = []
    for name in dict.fromkeys([*(metric.name for metric in sweep.metrics), *others]):
        if (spread := spread_of(name)) is None:
            continue
        low, high = text_figure(name, spread.low), text_figure(name, spread.high)
        reach = f" ({low} to {high}, {spread.count} seeds)" if spread.low < spread.high else ""
        lines.append(f"{figure_name(name)}: {text_figure(name, spread.mean)}{reach}")
    return lines
