"""Axes of a sweep's figures: where a swept value or a figure stands, from 0 to 1, and the ticks beside it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import LogLocator, MaxNLocator

from zorba_ray.artifacts.sweep import SweepRecord
from zorba_ray.report.figure import short, unit_of
from zorba_ray.report.trials import SEED
from zorba_ray.tables.text import text_figure, text_swept

_FEW = 12
"""Up to so many different numbers each has its tick."""


@dataclass(frozen=True)
class Scale:
    """One axis."""

    labelled: bool
    """Text, or a seed: places are evenly spread."""
    log: bool
    ticks: tuple[tuple[float, str], ...]
    """(place, text)"""
    place: Callable[[Any], float]
    """Value -> place: 0 is the lower end, 1 the upper one; NaN for a number that is not known."""
    few: bool
    """So few values that many trials share a place."""


def key_scale(sweep: SweepRecord, key: str) -> Scale:
    """Of a swept key."""
    values = [trial.entry.values.get(key) for trial in sweep.trials]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    order = distinct_values(values)
    text = any(isinstance(value, str) for value in values)
    if text or not numbers or (len(order) <= _FEW and (key == SEED or None in order)):
        places = {value: 0.5 if len(order) == 1 else at / (len(order) - 1) for at, value in enumerate(order)}
        ticks = spaced([(place, short(text_swept(value), 18)) for value, place in places.items()])
        return Scale(labelled=True, log=False, ticks=ticks, place=lambda value: places[value], few=True)
    return number_scale(numbers, is_log(sweep.space.get(key), sorted(set(numbers))), text_swept)


def distinct_values(values: Sequence[int | float | str | None]) -> list[int | float | str | None]:
    """Each once: numbers by size, then text in the order it came, then None."""
    kinds = dict.fromkeys(values)
    numbers = sorted(value for value in kinds if isinstance(value, (int, float)))
    return [*numbers, *(value for value in kinds if isinstance(value, str)), *([None] if None in kinds else [])]


def number_scale(values: Sequence[float], log: bool, text: Callable[[float], str]) -> Scale:
    """Of numbers; those of a logarithmic scale are positive."""
    low, high = min(values), max(values)
    turn = math.log10 if log else float

    def place(value: float | None) -> float:
        if value is None:  # a key that only some trials have
            return math.nan
        return 0.5 if high <= low else (turn(value) - turn(low)) / (turn(high) - turn(low))

    marked, few = sorted(set(values)), len(set(values)) <= _FEW
    if not few:
        locator = LogLocator(subs=(1.0, 2.0, 5.0)) if log else MaxNLocator(6, steps=[1, 2, 5, 10])
        marked = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high] or [low, high]
    return Scale(False, log, spaced([(place(value), text(value)) for value in marked]), place, few)


def figure_scale(values: Sequence[float], name: str) -> Scale:
    """Of a figure; bytes have ticks at round numbers of their unit."""
    size = unit_of(max(values))[0] if "bytes" in name else 1
    scale = number_scale([value / size for value in values], False, lambda value: text_figure(name, value * size))
    return Scale(
        False, False, scale.ticks, lambda value: scale.place(None if value is None else value / size), scale.few
    )


def is_log(sampled: Any, distinct: Sequence[float]) -> bool:
    """Sampled log-uniformly, or a grid of positive numbers that spans a factor of fifty."""
    if not distinct or distinct[0] <= 0 or not isinstance(sampled, dict):
        return False
    grid = bool(sampled.keys() & {"grid", "choice"})
    return any("loguniform" in name for name in sampled) or (
        grid and len(distinct) > 2 and distinct[-1] >= 50 * distinct[0]
    )


def spaced(
    ticks: Sequence[tuple[float, str]], least: float = 0.045, per_letter: float = 0.0
) -> tuple[tuple[float, str], ...]:
    """Drops ticks that would be written over each other: they stand `least` apart, and by half the letters of both."""
    kept: list[tuple[float, str]] = []
    for place, text in ticks:
        if not kept or place - kept[-1][0] >= max(least, per_letter * (len(text) + len(kept[-1][1])) / 2):
            kept.append((place, text))
    return tuple(kept)
