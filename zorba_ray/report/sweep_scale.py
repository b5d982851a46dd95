"""Axes of a sweep's figures: where a swept value or a figure stands, and what stands beside it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.artifacts.campaigns import Metric
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.canvas import LEVELS, short, unit_of
from zorba_ray.report.groups import SEED, cost
from zorba_ray.report.numbers import text_figure, text_swept

_FEW = 12
"""Up to so many different numbers each has its mark."""


@dataclass(frozen=True)
class Scale:
    """One axis: places are 0 at its lower end, 1 at its upper."""

    labelled: bool
    """Text, or a seed: places are evenly spread."""
    log: bool
    ticks: tuple[tuple[float, str], ...]
    """(place, text)"""
    place: Callable[[Any], float]
    few: bool
    """So few values that many trials share a place."""


def key_scale(sweep: SweepRecord, key: str) -> Scale:
    """Of a swept key."""
    values = [trial.entry.values.get(key) for trial in sweep.trials]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    distinct = sorted(set(numbers))
    order = distinct_values(values)
    text = any(isinstance(value, str) for value in values)
    if text or not numbers or (len(order) <= _FEW and (key == SEED or None in order)):
        places = {value: _even(index, len(order)) for index, value in enumerate(order)}
        ticks = spaced([(place, short(text_swept(value), 18)) for value, place in places.items()])
        return Scale(labelled=True, log=False, ticks=ticks, place=lambda value: places[value], few=True)
    return number_scale(numbers, is_log(sweep.space.get(key), distinct), text_swept)


def distinct_values(values: Sequence[int | float | str | None]) -> list[int | float | str | None]:
    """Each once: numbers by size, then text in the order it came, then None."""
    found = list(dict.fromkeys(values))
    return sorted(found, key=lambda value: (value is None, isinstance(value, str), value if _real(value) else 0))


def number_scale(values: Sequence[float], log: bool, text: Callable[[float], str]) -> Scale:
    """Of numbers."""
    turn = math.log10 if log else float
    low, high = turn(min(values)), turn(max(values))
    distinct = sorted(set(values))

    def place(value: float | None) -> float:
        if value is None:  # a key that only some trials have
            return math.nan
        return 0.5 if high <= low else (turn(value) - low) / (high - low)

    few = len(distinct) <= _FEW
    marked = distinct if few else _round_numbers(min(values), max(values), log)
    return Scale(False, log, spaced([(place(value), text(value)) for value in marked]), place, few)


def figure_scale(values: Sequence[float], name: str) -> Scale:
    """Of a figure."""
    size = unit_of(max(values))[0] if "bytes" in name else 1
    scale = number_scale([value / size for value in values], False, lambda value: text_figure(name, value * size))
    inner = scale.place
    return Scale(False, False, scale.ticks, lambda value: inner(value / size), len(set(values)) <= _FEW)


def is_log(sampled: Any, distinct: Sequence[float]) -> bool:
    """Sampled log-uniformly, or a grid of positive numbers that spans a factor of fifty."""
    if not distinct or distinct[0] <= 0:
        return False
    if isinstance(sampled, dict) and any("loguniform" in str(name) for name in sampled):
        return True
    grid = isinstance(sampled, dict) and any(name in sampled for name in ("grid", "choice"))
    return grid and len(distinct) > 2 and distinct[-1] >= 50 * distinct[0]


def levels(trials: Sequence[TrialRecord], metric: Metric) -> dict[int, int]:
    """Trial -> 0 (best) … 6 (worst) by its rank in the metric; trials without a value are left out."""
    known = [(cost(value, metric), t.entry.trial) for t in trials if (value := t.figure(metric.name)) is not None]
    order = sorted(value for value, _ in known)
    top = max(1, len(order) - 1)
    return {trial: round(order.index(value) / top * (len(LEVELS) - 1)) for value, trial in known}


def spaced(
    ticks: Sequence[tuple[float, str]], least: float = 0.045, per_letter: float = 0.0
) -> tuple[tuple[float, str], ...]:
    """Drops marks that would be written over each other: they stand `least` apart, and by half the letters of both."""
    kept: list[tuple[float, str]] = []
    for place, text in ticks:
        if not kept or place - kept[-1][0] >= max(least, per_letter * (len(text) + len(kept[-1][1])) / 2):
            kept.append((place, text))
    return tuple(kept)


def _even(index: int, count: int) -> float:
    return 0.5 if count == 1 else index / (count - 1)


def _real(value: Any) -> bool:
    return isinstance(value, (int, float))


def _round_numbers(low: float, high: float, log: bool) -> list[float]:
    if log:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]
        if len(found) > 9:
            found = [10.0**e for e in exponents if low <= 10.0**e <= high]
        return found if len(found) > 1 else [low, high]
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 6)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
