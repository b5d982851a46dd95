"""Parallel coordinates of a sweep: one line per trial through its values, its metric and its memory."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.canvas import GREY, LEVELS, Plot, plot, short
from zorba_ray.report.groups import best_trial, cost
from zorba_ray.report.numbers import text_figure
from zorba_ray.report.svg import Mark
from zorba_ray.report.sweep_scale import Scale, figure_scale, key_scale, levels
from zorba_ray.report.words import VRAM, figure_name, key_name, trial_text

_SPREAD = 0.05
"""Trials on one mark are drawn side by side over so much of the axis."""


def parallel(sweep: SweepRecord, keys: Sequence[str]) -> Plot | None:
    """Axes: swept keys, metrics, fleet VRAM; None with fewer than two trials that have a value of the metric."""
    metric = sweep.metrics[0]
    level = levels(sweep.trials, metric)
    trials = [trial for trial in sweep.trials if trial.entry.trial in level]
    if len(trials) < 2:
        return None
    axes_of: list[tuple[str, Scale, list[float | None]]] = []
    for key in keys:
        scale = key_scale(sweep, key)
        axes_of.append((key_name(key, keys), scale, [scale.place(t.entry.values.get(key)) for t in trials]))
    for name in dict.fromkeys([*(m.name for m in sweep.metrics), VRAM]):
        values = [trial.figure(name) for trial in trials]
        known = [value for value in values if value is not None]
        if known:
            scale = figure_scale(known, name)
            axes_of.append((figure_name(name), scale, [None if v is None else scale.place(v) for v in values]))
    order = sorted(range(len(trials)), key=lambda index: -level[trials[index].entry.trial])
    places = [_side_by_side(column, order) if scale.few else column for _, scale, column in axes_of]
    best = best_trial(sweep)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axis("off")
        for index in order:  # the best are drawn last, on top
            trial = trials[index]
            y = [column[index] for column in places]
            line = axes.plot(
                range(len(y)),
                [np.nan if value is None else value for value in y],
                color=LEVELS[level[trial.entry.trial]],
                linewidth=3.2 if trial is best else 1.3,
                linestyle="-" if trial.finished else (0, (3, 2)),
                solid_capstyle="round",
            )[0]
            line.set_gid(f"trial-{trial.entry.trial}")
        for x, (name, scale, _) in enumerate(axes_of):
            last = x == len(axes_of) - 1
            axes.plot([x, x], [-0.03, 1.03], color=GREY, linewidth=1)
            for place, text in scale.ticks:
                axes.plot([x, x + (0.012 if last else -0.012)], [place, place], color=GREY, linewidth=1)
                side = ("left", 0.025) if last else ("right", -0.025)
                axes.text(x + side[1], place, text, ha=side[0], va="center", fontsize=9)
            axes.text(x, 1.09, short(name, 24), ha="center", va="bottom", fontweight="bold")
        _key(axes, sweep, trials, level)
        axes.set_xlim(-0.3, len(axes_of) - 0.7)
        axes.set_ylim(-0.26, 1.16)

    left_out = len(sweep.trials) - len(trials)
    note = "One line per trial; the best is thick, trials that did not run to the end are dashed. "
    note += "Trials on the same mark are drawn side by side."
    if left_out:
        note += f" {left_out} trials without a {figure_name(metric.name)} are left out."
    alt = f"Parallel coordinates of {len(trials)} trials: {', '.join(name for name, _, _ in axes_of)}."
    if best is not None:
        alt += f" The best is {trial_text(sweep, best, keys).splitlines()[0].removeprefix('Trial ')}."
    marks = {f"trial-{t.entry.trial}": Mark(trial_text(sweep, t, keys), (t.entry.trial,)) for t in trials}
    return plot("Parallel coordinates", alt, draw, 4.2, note, wide=True, marks=marks)


def _key(axes, sweep: SweepRecord, trials: Sequence[TrialRecord], level: dict[int, int]) -> None:
    """The row of colours, best to worst."""
    metric = sweep.metrics[0]
    values = [value for trial in trials if (value := trial.figure(metric.name)) is not None]
    values.sort(key=lambda value: cost(value, metric))
    width, left, low = 0.1, 0.35, -0.22
    for index, color in enumerate(LEVELS):
        axes.add_patch(Rectangle((left + index * width, low), width, 0.06, facecolor=color, edgecolor="none"))
    best, worst = text_figure(metric.name, values[0]), text_figure(metric.name, values[-1])
    axes.text(left - 0.03, low + 0.03, f"best {best}", ha="right", va="center", fontsize=9)
    right = left + len(LEVELS) * width + 0.03
    text = f"worst {worst}, by rank in {figure_name(metric.name)}"
    axes.text(right, low + 0.03, text, ha="left", va="center", fontsize=9)


def _side_by_side(column: Sequence[float | None], order: Sequence[int]) -> list[float | None]:
    """Places with those that coincide moved apart, the best lowest."""
    found = list(column)
    for place in {value for value in column if value is not None}:
        here = [index for index in reversed(order) if column[index] == place]
        for rank, index in enumerate(here):
            if len(here) > 1:
                found[index] = place + _SPREAD * (rank / (len(here) - 1) - 0.5)
    return found
