"""Figures of a sweep: Pareto front, curves of the best configurations, metric against each key."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.curves import Line, curves_plot
from zorba_ray.report.figure import BLUE, CARD, GREY, PALE, Plot, percent, plot, short, unit_of
from zorba_ray.report.trials import (
    SEED,
    VRAM,
    Group,
    best_trials,
    cost,
    figure_title,
    key_name,
    spread_of,
    swept_keys,
    tip,
    traded,
    values_text,
)
from zorba_ray.tables.text import figure_name, text_swept

_TASK_KEYS = ("model.path", "model.revision", "data.path")
_LINES = 7
"""Most configurations whose curves are drawn."""


def tasks_of(sweep: SweepRecord) -> dict[str, SweepRecord]:
    """Model and data in words -> a sweep with only these trials; one entry if neither model nor data is swept."""
    kinds: dict[str, list[TrialRecord]] = {}
    for trial in sweep.trials:
        values = [str(trial.entry.values[key]) for key in _TASK_KEYS if key in trial.entry.values]
        kinds.setdefault(" on ".join(values), []).append(trial)
    return {name: replace(sweep, trials=tuple(trials)) for name, trials in kinds.items()}


def sweep_plots(sweep: SweepRecord, groups: Sequence[Group], memory: str) -> list[Plot]:
    """All figures with data, for trials with one model and data set. The seed has a figure only if nothing else is
    swept.

    Args:
        memory: source of the VRAM figures, for a note.
    """
    keys = swept_keys(sweep)
    name = sweep.metrics[0].name
    field = "reward" if name.endswith("_reward") else "accuracy" if "accuracy" in name else "loss"
    best = [Line(values_text(group.values, keys) or "all trials", group.runs) for group in groups[:_LINES]]
    plots = [
        front_plot(sweep, groups, keys, memory),
        curves_plot(f"Validation {field} of the best configurations", best, field),
        *(effect_plot(sweep, key, keys) for key in keys if key != SEED or len(keys) == 1),
    ]
    return [plot for plot in plots if plot is not None]


def front_plot(sweep: SweepRecord, groups: Sequence[Group], keys: Sequence[str], memory: str) -> Plot | None:
    """The first metric against the second one or the fleet's VRAM, one point per configuration; None if there are fewer
    than two values on the horizontal axis."""
    metric, other = sweep.metrics[0], traded(sweep)
    points = [(g, x, y) for g in groups if (x := g.spread(other.name)) and (y := g.spread(metric.name))]
    if len({x.mean for _, x, _ in points}) < 2:
        return None
    front = best_trials([(cost(x.mean, other), cost(y.mean, metric)) for _, x, y in points])
    size, unit = unit_of(max(x.mean for _, x, _ in points)) if "bytes" in other.name else (1, "")

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        line = sorted((points[index][1].mean / size, points[index][2].mean) for index in front)
        # Between two points of the front the line keeps the worse value, because nothing better is known.
        steps = "steps-post" if other.mode == "min" else "steps-pre"
        axes.plot(*zip(*line, strict=True), color=PALE, linewidth=2, drawstyle=steps)
        for index, (_, x, y) in enumerate(points):
            color, point = BLUE if index in front else GREY, (x.mean / size, y.mean)
            axes.vlines(point[0], y.low, y.high, color=color, linewidth=1)
            axes.plot(*point, "o", color=color, markersize=9, markeredgecolor=CARD)[0].set_gid(f"group-{index}")
        axes.margins(0.1)
        axes.set(xlabel=f"{figure_name(other.name)}{f', {unit}' if unit else ''}", ylabel=figure_name(metric.name))
        _format(axes.yaxis, metric.name)
        _format(axes.xaxis, other.name)

    better = " and ".join(f"{'low' if m.mode == 'min' else 'high'} {figure_name(m.name)}" for m in (metric, other))
    note = f"Better: {better}. Blue: on the front, {len(front)} of {len(points)}; grey: dominated. "
    note += "Points: mean over seeds; bars: range."
    if other.name == VRAM and memory:
        note += f" VRAM figures are {memory}."
    tips = {
        f"group-{i}": tip(values_text(g.values, keys), {metric.name: y.mean, other.name: x.mean})
        for i, (g, x, y) in enumerate(points)
    }
    return plot(f"Pareto front: {figure_name(metric.name)} and {figure_name(other.name)}", draw, 3.6, note, tips)


def effect_plot(sweep: SweepRecord, key: str, keys: Sequence[str]) -> Plot | None:
    """The first metric against one key: a dot per finished trial. If several trials have the same value, also their
    mean and range. Text and seeds are placed evenly, numbers on a scale."""
    metric = sweep.metrics[0]
    finished = [(t, value) for t in sweep.with_status("finished") if (value := t.figure(metric.name)) is not None]
    labelled = key == SEED or any(isinstance(trial.entry.values.get(key), str) for trial, _ in finished)
    # A trial without the key cannot be placed on a scale of numbers.
    finished = [(trial, y) for trial, y in finished if labelled or trial.entry.values.get(key) is not None]
    values = distinct_values([trial.entry.values.get(key) for trial, _ in finished])
    if len(values) < 2:
        return None
    log = not labelled and is_log(values)

    def place(trial: TrialRecord) -> float:
        value = trial.entry.values.get(key)
        return values.index(value) if labelled or not isinstance(value, (int, float)) else value

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for value in values:
            same = [trial for trial, _ in finished if trial.entry.values.get(key) == value]
            if len(same) > 1 and (spread := spread_of(same, metric.name)):
                axes.vlines(place(same[0]), spread.low, spread.high, color=PALE, linewidth=3)
                axes.plot(place(same[0]), spread.mean, "_", color=GREY, markersize=14, markeredgewidth=2)
        for trial, y in finished:
            dot = axes.plot(place(trial), y, "o", color=BLUE, markersize=5, markeredgewidth=0)[0]
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

    tips = {
        f"trial-{t.entry.trial}": tip(f"Trial {t.entry.trial}: {values_text(t.entry.values, keys)}", {metric.name: y})
        for t, y in finished
    }
    note = "Dots: finished trials. Behind them: mean and range of trials with the same value."
    return plot(f"{figure_title(metric.name)} against {key_name(key, keys)}", draw, 2.9, note, tips)


def distinct_values(values: Sequence[int | float | str | None]) -> list[int | float | str | None]:
    """Each value once: numbers by size, then texts in their order, then None."""
    kinds = dict.fromkeys(values)
    numbers = sorted(value for value in kinds if isinstance(value, (int, float)))
    return [*numbers, *(value for value in kinds if isinstance(value, str)), *([None] if None in kinds else [])]


def is_log(distinct: Sequence[int | float | str | None]) -> bool:
    """Whether the axis should be logarithmic: more than two positive ascending numbers that span a factor of 50."""
    numbers = [value for value in distinct if isinstance(value, (int, float))]
    return len(numbers) > 2 and numbers[0] > 0 and numbers[-1] >= 50 * numbers[0]


def _format(axis: Axis, name: str) -> None:
    """Ticks of an axis in the unit of its figure."""
    axis.set_major_locator(MaxNLocator(6))
    if name.endswith(("accuracy", "share")):
        percent(axis)
