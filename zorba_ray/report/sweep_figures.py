"""Figures of a sweep: Pareto front, learning curves, metric against each key."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from zorba_ray.artifacts.campaigns import Metric
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.figure import (
    BLUE,
    CARD,
    GREY,
    LEVELS,
    PALE,
    Plot,
    legend,
    percent,
    plot,
    short,
    unit_of,
    whole_rounds,
)
from zorba_ray.report.svg import Mark
from zorba_ray.report.trials import (
    SEED,
    VRAM,
    Group,
    best_trial,
    figure_name,
    figure_title,
    front_names,
    group_text,
    key_name,
    levels,
    spread_of,
    trial_text,
)
from zorba_ray.tables.text import text_swept

_FEW = 12
"""Up to so many different values have their mean and range."""
_DASHED = (0, (3, 2))
"""Of trials that did not run to the end."""


def front_plot(
    sweep: SweepRecord, groups: Sequence[Group], keys: Sequence[str], other: Metric, memory: str
) -> Plot | None:
    """The first metric against `other`, one point per configuration; None where fewer than two values of `other` are
    known: there is nothing to trade. `memory`: where VRAM figures come from."""
    metric = sweep.metrics[0]
    points = [
        (i, g, x, y) for i, g in enumerate(groups) if (x := g.spread(other.name)) and (y := g.spread(metric.name))
    ]
    if len({x.mean for _, _, x, _ in points}) < 2:
        return None
    letters = front_names(groups, metric, other)
    size, unit = unit_of(max(x.mean for *_, x, _ in points)) if "bytes" in other.name else (1, "")

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        line = sorted((x.mean / size, y.mean) for i, _, x, y in points if i in letters)
        # The front stands where nothing better is known: between two points it keeps the worse value.
        steps = "steps-post" if other.mode == "min" else "steps-pre"
        axes.plot(*zip(*line, strict=True), color=PALE, linewidth=2, drawstyle=steps)
        for index, _, x, y in points:
            color, at = BLUE if index in letters else GREY, (x.mean / size, y.mean)
            if y.low < y.high:
                axes.vlines(at[0], y.low, y.high, color=color, linewidth=1)
            axes.plot(*at, "o", color=color, markersize=9, markeredgecolor=CARD)[0].set_gid(f"group-{index}")
            if index in letters:
                axes.annotate(letters[index], at, (7, 5), textcoords="offset points", fontweight="bold", fontsize=9)
        axes.margins(0.1)
        axes.set(xlabel=f"{figure_name(other.name)}{f', {unit}' if unit else ''}", ylabel=figure_name(metric.name))
        _format(axes.yaxis, metric.name)
        _format(axes.xaxis, other.name)

    title = f"Pareto front: {figure_name(metric.name)} and {figure_name(other.name)}"
    better = " and ".join(f"{'low' if m.mode == 'min' else 'high'} {figure_name(m.name)}" for m in (metric, other))
    note = f"Better: {better}. Blue, with letters: on the front, {len(letters)} of {len(points)}; grey: dominated."
    if max(y.count for *_, y in points) > 1:
        note += " Points: mean over seeds; bars: range."
    if other.name == VRAM and memory:
        note += f" VRAM figures are {memory}."
    marks = {}
    for i, group, _, _ in points:
        extra = f"{letters[i]}, on the front" if i in letters else "dominated"
        marks[f"group-{i}"] = Mark(group_text(sweep, group, keys, extra), group.numbers)
    return plot(title, draw, 3.6, note, marks=marks)


def effect_plot(sweep: SweepRecord, key: str, keys: Sequence[str]) -> Plot | None:
    """The first metric against one key. Points: trials that ran to the end, in the colours of their ranks; where they
    share few values, with mean and range. Text and seeds are spread evenly, numbers on a scale."""
    metric = sweep.metrics[0]
    known = [(t, value) for t in sweep.with_status("finished") if (value := t.figure(metric.name)) is not None]
    labelled = key == SEED or any(isinstance(trial.entry.values.get(key), str) for trial, _ in known)
    # On a scale, a trial that lacks the key has no place.
    known = [(trial, y) for trial, y in known if labelled or trial.entry.values.get(key) is not None]
    values = distinct_values([trial.entry.values.get(key) for trial, _ in known])
    if len(values) < 2:
        return None
    trials = [trial for trial, _ in known]
    level, few = levels(trials, metric, len(LEVELS)), labelled or len(values) <= _FEW
    log = not labelled and is_log(sweep.space.get(key), values)

    def place(trial: TrialRecord) -> Any:
        value = trial.entry.values.get(key)
        return values.index(value) if labelled else value

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for value in values if few else ():
            some = [trial for trial in trials if trial.entry.values.get(key) == value]
            if spread := spread_of(some, metric.name):
                axes.vlines(place(some[0]), spread.low, spread.high, color=PALE, linewidth=3)
                axes.plot(place(some[0]), spread.mean, "_", color=GREY, markersize=14, markeredgewidth=2)
        for trial, y in known:
            color = LEVELS[level[trial.entry.trial]]
            dot = axes.plot(place(trial), y, "o", color=color, markersize=5, markeredgewidth=0)[0]
            dot.set_gid(f"trial-{trial.entry.trial}")
        if labelled:
            texts = [short(text_swept(value), 18) for value in values]
            axes.set_xticks(range(len(texts)), texts, rotation=25 if sum(map(len, texts)) > 36 else 0)
            axes.set_xlim(-0.5, len(texts) - 0.5)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=f"{short(key_name(key, keys), 40)}{' (logarithmic)' if log else ''}")
        axes.set(ylabel=figure_name(metric.name))
        _format(axes.yaxis, metric.name)

    note = "Dots: trials that ran to the end, blue is best." + (" Behind them: mean and range." if few else "")
    title = f"{figure_title(metric.name)} against {key_name(key, keys)}"
    return plot(title, draw, 2.9, note, marks=_marks(sweep, trials, keys))


def distinct_values(values: Sequence[int | float | str | None]) -> list[int | float | str | None]:
    """Each once: numbers by size, then text in the order it came, then None."""
    kinds = dict.fromkeys(values)
    numbers = sorted(value for value in kinds if isinstance(value, (int, float)))
    return [*numbers, *(value for value in kinds if isinstance(value, str)), *([None] if None in kinds else [])]


def is_log(sampled: Any, distinct: Sequence[Any]) -> bool:
    """Sampled log-uniformly, or a grid of positive numbers, from small to large, that spans a factor of fifty."""
    if not distinct or distinct[0] <= 0 or not isinstance(sampled, dict):
        return False
    grid = bool(sampled.keys() & {"grid", "choice"})
    spans = len(distinct) > 2 and distinct[-1] >= 50 * distinct[0]
    return any("loguniform" in name for name in sampled) or (grid and spans)


def curves_plot(sweep: SweepRecord, keys: Sequence[str]) -> Plot | None:
    """The first metric of all trials against rounds, the best on top; None where no trial was evaluated."""
    metric, best = sweep.metrics[0], best_trial(sweep)
    field = "accuracy" if "accuracy" in metric.name else "loss"
    level = levels(sweep.trials, metric, len(LEVELS))
    known = []
    for trial in sorted(sweep.trials, key=lambda t: (t is best, -level.get(t.entry.trial, len(LEVELS)))):
        points = [(r.round, getattr(r, field)) for r in (trial.run.split("validation") if trial.run else ())]
        if points := [(at, value) for at, value in points if value is not None and math.isfinite(value)]:
            known.append((trial, points))
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for trial, points in known:
            x, y = zip(*points, strict=True)
            line = axes.plot(x, y, **_line(trial, trial is best, level))[0]
            line.set_gid(f"trial-{trial.entry.trial}")
            if trial is best:
                line.set_label(f"best: trial {trial.entry.trial}")
            if not trial.finished:
                axes.plot(*points[-1], "x", color=GREY, markersize=5)
        axes.set(xlabel="round (0: zero-shot)", ylabel=f"validation {field}")
        whole_rounds(axes)
        _format(axes.yaxis, field)
        legend(figure, axes)

    note = "Blue is best, orange worst, by rank."
    if not all(trial.finished for trial, _ in known):
        note += " Dashed, with a cross at the end: trials that did not run to the end."
    marks = _marks(sweep, [trial for trial, _ in known], keys, reachable=False)
    return plot(f"Validation {field} of all trials", draw, 3.8, note, marks=marks)


def _line(trial: TrialRecord, best: bool, level: Mapping[int, int]) -> dict[str, Any]:
    """How a trial's line looks: coloured by rank, thick for the best, dashed where it did not run to the end."""
    rank = level.get(trial.entry.trial)
    return {
        "color": GREY if rank is None else LEVELS[rank],
        "linewidth": 3.2 if best else 1,
        "linestyle": "-" if trial.finished else _DASHED,
    }


def _marks(
    sweep: SweepRecord, trials: Sequence[TrialRecord], keys: Sequence[str], reachable: bool = True
) -> dict[str, Mark]:
    return {
        f"trial-{trial.entry.trial}": Mark(trial_text(sweep, trial, keys), (trial.entry.trial,), reachable)
        for trial in trials
    }


def _format(axis: Axis, name: str) -> None:
    """Ticks of an axis in the unit of its figure."""
    axis.set_major_locator(MaxNLocator(6))
    if name.endswith(("accuracy", "share")):
        percent(axis)
