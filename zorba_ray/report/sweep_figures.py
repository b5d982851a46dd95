"""Figures of a sweep: Pareto front, learning curves, metric against each key, parallel coordinates."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

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
from zorba_ray.report.scale import Scale, distinct_values, figure_scale, key_scale, spaced
from zorba_ray.report.svg import Mark
from zorba_ray.report.trials import (
    VRAM,
    Group,
    best_trial,
    cost,
    figure_name,
    figure_title,
    front_names,
    group_text,
    key_name,
    levels,
    spread_of,
    trial_text,
)
from zorba_ray.tables.text import text_figure

_SIDE_BY_SIDE = 0.05
"""Trials on one mark of parallel coordinates are drawn over so much of the axis."""
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
    """The first metric against one key. Points: trials that ran to the end; where they share few values, their mean and
    range."""
    metric, scale = sweep.metrics[0], key_scale(sweep, key)
    trials = [trial for trial in sweep.with_status("finished") if trial.figure(metric.name) is not None]
    values = distinct_values([trial.entry.values.get(key) for trial in trials])
    if len(values) < 2:
        return None
    spreads = [spread_of([trial for trial in trials if trial.entry.values.get(key) == value], metric.name)
               for value in values] if scale.few else []  # fmt: skip
    level = levels(trials, metric, len(LEVELS))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for trial in trials:
            at, color = scale.place(trial.entry.values.get(key)), LEVELS[level[trial.entry.trial]]
            dot = axes.plot(at, trial.figure(metric.name), "o", color=color, markersize=5, markeredgewidth=0)[0]
            dot.set_gid(f"trial-{trial.entry.trial}")
        means = [(scale.place(value) + 0.025, spread) for value, spread in zip(values, spreads, strict=False) if spread]
        if means:
            x, y = zip(*((at, spread.mean) for at, spread in means), strict=True)
            axes.plot(x, y, "_", color=GREY, markersize=12, markeredgewidth=2, label="mean")
            axes.vlines(x, [s.low for _, s in means], [s.high for _, s in means], color=GREY, linewidth=1)
        margin = 0.12 if scale.few else 0.04
        axes.set_xlim(-margin, 1 + margin)
        ticks = scale.ticks if scale.labelled else spaced(scale.ticks, per_letter=0.032)
        crowded = scale.labelled and max(len(text) for _, text in ticks) * len(ticks) > 36
        axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks], rotation=25 if crowded else 0)
        axes.set_xlabel(f"{short(key_name(key, keys), 40)}{' (logarithmic)' if scale.log else ''}")
        axes.set_ylabel(figure_name(metric.name))
        _format(axes.yaxis, metric.name)

    note = "Dots: trials that ran to the end, blue is best." + (" Beside them: mean and range." if scale.few else "")
    title = f"{figure_title(metric.name)} against {key_name(key, keys)}"
    return plot(title, draw, 2.9, note, marks=_marks(sweep, trials, keys))


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
            line = axes.plot(*zip(*points, strict=True), **_line(trial, trial is best, level, 1))[0]
            line.set_gid(f"trial-{trial.entry.trial}")
            if trial is best:
                line.set_label(f"best: trial {trial.entry.trial}")
            if not trial.finished:
                axes.plot(*points[-1], "x", color=GREY, markersize=5)
        axes.set(xlabel="round (0: zero-shot)", ylabel=f"validation {field}")
        whole_rounds(axes)
        _format(axes.yaxis, field)
        legend(figure, axes)

    note = "Colours as in the parallel coordinates: blue is best, orange worst."
    if not all(trial.finished for trial, _ in known):
        note += " Dashed, with a cross at the end: trials that did not run to the end."
    marks = _marks(sweep, [trial for trial, _ in known], keys, reachable=False)
    return plot(f"Validation {field} of all trials", draw, 3.8, note, marks=marks)


def parallel_plot(sweep: SweepRecord, keys: Sequence[str]) -> Plot | None:
    """Parallel coordinates: one line per trial through its values, its metrics and its memory; None with fewer than
    two trials that have a value of the metric."""
    metric, best = sweep.metrics[0], best_trial(sweep)
    level = levels(sweep.trials, metric, len(LEVELS))
    trials = [trial for trial in sweep.trials if trial.entry.trial in level]
    if len(trials) < 2:
        return None
    columns: list[tuple[str, Scale, list[float]]] = []
    for key in keys:
        scale = key_scale(sweep, key)
        columns.append((key_name(key, keys), scale, [scale.place(trial.entry.values.get(key)) for trial in trials]))
    for name in dict.fromkeys([*(m.name for m in sweep.metrics), VRAM]):
        values = [trial.figure(name) for trial in trials]
        if known := [value for value in values if value is not None]:
            scale = figure_scale(known, name)
            columns.append((figure_name(name), scale, [scale.place(value) for value in values]))
    order = sorted(range(len(trials)), key=lambda index: -level[trials[index].entry.trial])
    places = np.array([_side_by_side(at, order) if scale.few else at for _, scale, at in columns])

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axis("off")
        for index in order:  # the best are drawn last, on top
            trial = trials[index]
            kind = _line(trial, trial is best, level, 1.3) | {"solid_capstyle": "round"}
            axes.plot(range(len(columns)), places[:, index], **kind)[0].set_gid(f"trial-{trial.entry.trial}")
        for x, (name, scale, _) in enumerate(columns):
            side, align = (1, "left") if x == len(columns) - 1 else (-1, "right")
            axes.plot([x, x], [-0.03, 1.03], color=GREY, linewidth=1)
            for place, text in scale.ticks:
                axes.plot([x, x + side * 0.012], [place, place], color=GREY, linewidth=1)
                axes.text(x + side * 0.025, place, text, ha=align, va="center", fontsize=9)
            axes.text(x, 1.09, short(name, 24), ha="center", va="bottom", fontweight="bold")
        _colour_key(axes, metric, [value for t in trials if (value := t.figure(metric.name)) is not None])
        axes.set_xlim(-0.3, len(columns) - 0.7)
        axes.set_ylim(-0.26, 1.16)

    note = "One line per trial; the best is thick, trials that did not run to the end are dashed. "
    note += "Trials on the same mark are drawn side by side."
    if left_out := len(sweep.trials) - len(trials):
        note += f" {left_out} trials without a {figure_name(metric.name)} are left out."
    marks = _marks(sweep, trials, keys)
    return plot("Parallel coordinates", draw, 4.2, note, wide=True, marks=marks)


def _colour_key(axes: Axes, metric: Metric, values: Sequence[float]) -> None:
    """The row of colours, best to worst."""
    width, left, low = 0.1, 0.35, -0.22
    for index, color in enumerate(LEVELS):
        axes.add_patch(Rectangle((left + index * width, low), width, 0.06, facecolor=color, edgecolor="none"))
    ordered = sorted(values, key=lambda value: cost(value, metric))
    best, worst = text_figure(metric.name, ordered[0]), text_figure(metric.name, ordered[-1])
    axes.text(left - 0.03, low + 0.03, f"best {best}", ha="right", va="center", fontsize=9)
    text = f"worst {worst}, by rank in {figure_name(metric.name)}"
    axes.text(left + len(LEVELS) * width + 0.03, low + 0.03, text, ha="left", va="center", fontsize=9)


def _side_by_side(column: Sequence[float], order: Sequence[int]) -> list[float]:
    """Places with those that coincide moved apart, the best lowest."""
    moved = list(column)
    for place in {value for value in column if not math.isnan(value)}:
        here = [index for index in reversed(order) if column[index] == place]
        for rank, index in enumerate(here):
            moved[index] += _SIDE_BY_SIDE * (rank / (len(here) - 1) - 0.5) if len(here) > 1 else 0.0
    return moved


def _line(trial: TrialRecord, best: bool, level: Mapping[int, int], width: float) -> dict:
    """How a trial's line looks: coloured by rank, thick for the best, dashed where it did not run to the end."""
    rank = level.get(trial.entry.trial)
    return {
        "color": GREY if rank is None else LEVELS[rank],
        "linewidth": 3.2 if best else width,
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
