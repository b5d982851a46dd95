"""Figures of a sweep: Pareto front, metric against each key, learning curves."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zorba_ray.artifacts.campaigns import Metric
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.canvas import (
    BLUE,
    CARD,
    CYCLE,
    GREY,
    LEVELS,
    MARKERS,
    PALE,
    Plot,
    legend_below,
    number,
    plot,
    short,
    unit_of,
    whole_rounds,
)
from zorba_ray.report.groups import SEED, Group, best_trial, spread_of
from zorba_ray.report.numbers import text_figure, text_swept
from zorba_ray.report.svg import Mark
from zorba_ray.report.sweep_scale import distinct_values, key_scale, levels, spaced
from zorba_ray.report.sweep_tables import front_names, memory_note
from zorba_ray.report.words import VRAM, figure_name, group_text, key_name, trial_text, values_text


def front(sweep: SweepRecord, groups: Sequence[Group], keys: Sequence[str], other: Metric) -> Plot | None:
    """The first metric against `other`, one point per configuration; None where fewer than two values of `other` are
    known: there is nothing to trade."""
    metric = sweep.metrics[0]
    points = [
        (i, g, x, y) for i, g in enumerate(groups) if (x := g.spread(other.name)) and (y := g.spread(metric.name))
    ]
    if len({x.mean for _, _, x, _ in points}) < 2:
        return None
    letters = front_names(groups, metric, other)
    size, unit = unit_of(max(x.mean for *_, x, _ in points)) if "bytes" in other.name else (1, "")
    seeds = max(y.count for *_, y in points)

    # The front stands where nothing better is known: between two points it keeps the worse value.
    steps = "steps-post" if other.mode == "min" else "steps-pre"

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        line = sorted((x.mean / size, y.mean) for i, _, x, y in points if i in letters)
        axes.plot(*zip(*line, strict=True), color=PALE, linewidth=2, drawstyle=steps)
        for index, _, x, y in points:
            color = BLUE if index in letters else GREY
            if y.low < y.high:
                axes.vlines(x.mean / size, y.low, y.high, color=color, linewidth=1)
            mark = axes.plot(x.mean / size, y.mean, "o", color=color, markersize=9, markeredgecolor=CARD)[0]
            mark.set_gid(f"group-{index}")
            if index in letters:
                at = (x.mean / size, y.mean)
                axes.annotate(letters[index], at, (7, 5), textcoords="offset points", fontweight="bold", fontsize=9)
        axes.margins(0.1)
        axes.set_xlabel(f"{figure_name(other.name)}{f', {unit}' if unit else ''}")
        axes.set_ylabel(figure_name(metric.name))
        _format(axes.yaxis, metric.name)
        _format(axes.xaxis, other.name)

    told = "; ".join(
        f"{letters[i]} {values_text(g.values, keys)}: {text_figure(metric.name, y.mean)} at "
        f"{text_figure(other.name, x.mean)}"
        for i, g, x, y in sorted(points, key=lambda point: point[2].mean)
        if i in letters
    )
    title = f"Pareto front: {figure_name(metric.name)} and {figure_name(other.name)}"
    wanted = {"min": "low", "max": "high"}
    note = f"Better: {wanted[metric.mode]} {figure_name(metric.name)}, {wanted[other.mode]} {figure_name(other.name)}. "
    note += "Blue, with letters: on the front; grey: dominated."
    if seeds > 1:
        note += " Points: mean over seeds; bars: range."
    if other.name == VRAM and memory_note(sweep):
        note += f" VRAM figures are {memory_note(sweep)}."
    marks = {
        f"group-{i}": Mark(
            group_text(sweep, g, keys, f"{letters[i]}, on the front" if i in letters else "dominated"), g.numbers
        )
        for i, g, _, _ in points
    }
    alt = f"{title}. {len(letters)} of {len(points)} configurations are on the front: {told}."
    return plot(title, alt, draw, 3.6, note, marks=marks)


def effects(sweep: SweepRecord, keys: Sequence[str]) -> list[Plot]:
    """The first metric against each swept key; seeds repeat a trial and are no effect, unless nothing else is swept."""
    found = (_effect(sweep, key, keys) for key in keys if key != "seed" or len(keys) == 1)
    return [one for one in found if one is not None]


def _effect(sweep: SweepRecord, key: str, keys: Sequence[str]) -> Plot | None:
    """Points: trials that ran to the end; marks and bars: mean and range. Where another key has few values, one line
    for each of them."""
    metric = sweep.metrics[0]
    trials = [trial for trial in sweep.with_status("finished") if trial.figure(metric.name) is not None]
    scale = key_scale(sweep, key)
    if len({trial.entry.values.get(key) for trial in trials}) < 2:
        return None
    split = _split_key(trials, key, keys)
    parts = distinct_values([trial.entry.values.get(split) for trial in trials]) if split else [None]
    name, metric_name = key_name(key, keys), figure_name(metric.name)
    curves: list[tuple[str, list[TrialRecord]]] = []
    for part in parts:
        own = [trial for trial in trials if not split or trial.entry.values.get(split) == part]
        curves.append((f"{key_name(split, keys)} {text_swept(part)}" if split else "mean and range", own))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (label, own) in enumerate(curves):
            color = CYCLE[index % len(CYCLE)]
            shift = (0.05 if scale.labelled else 0.018) * (index - (len(curves) - 1) / 2)
            for trial in own:
                x, y = scale.place(trial.entry.values.get(key)) + shift, number(trial.figure(metric.name))
                dot = axes.plot(x, y, "o", color=color, markersize=5, alpha=0.45, markeredgewidth=0)[0]
                dot.set_gid(f"trial-{trial.entry.trial}")
            if not scale.few:
                axes.plot([], [], "o", color=color, markersize=5, label=label)
                continue
            values = distinct_values([trial.entry.values.get(key) for trial in own])
            spreads = [spread_of([t for t in own if t.entry.values.get(key) == value], metric.name) for value in values]
            at = [scale.place(value) + shift for value in values]
            means = [spread.mean for spread in spreads if spread]
            line = "none" if scale.labelled else "-"
            marker = MARKERS[index % len(MARKERS)]
            axes.plot(at, means, marker=marker, ls=line, color=color, markersize=6, markeredgecolor=CARD, label=label)
            axes.vlines(at, [s.low for s in spreads if s], [s.high for s in spreads if s], color=color, linewidth=1)
        axes.set_xlim(-0.12, 1.12) if scale.few else axes.set_xlim(-0.04, 1.04)
        ticks = scale.ticks if scale.labelled else spaced(scale.ticks, per_letter=0.032)
        axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
        if scale.labelled and max(len(text) for _, text in ticks) * len(ticks) > 36:
            for text in axes.get_xticklabels():
                text.set(rotation=25, ha="right", rotation_mode="anchor")
        axes.set_xlabel(f"{short(name, 40)}{' (logarithmic)' if scale.log else ''}")
        axes.set_ylabel(metric_name)
        _format(axes.yaxis, metric.name)
        if split:
            legend_below(figure, axes, columns=2)

    title = f"{metric_name[0].upper()}{metric_name[1:]} against {name}"
    told = []
    for label, own in curves:
        for value in distinct_values([trial.entry.values.get(key) for trial in own]) if scale.few else []:
            spread = spread_of([t for t in own if t.entry.values.get(key) == value], metric.name)
            told.append(f"{label} at {text_swept(value)}: {text_figure(metric.name, spread.mean if spread else None)}")
    note = "Dots: trials that ran to the end." + (" Larger marks and bars: mean and range." if scale.few else "")
    marks = {f"trial-{t.entry.trial}": Mark(trial_text(sweep, t, keys), (t.entry.trial,)) for t in trials}
    alt = f"{title}, {len(trials)} trials. {'; '.join(told[:24])}".rstrip()
    height = 2.9 + (0.2 * ((len(curves) + 1) // 2) if split else 0)
    return plot(title, alt, draw, height, note, marks=marks)


def _split_key(trials: Sequence[TrialRecord], key: str, keys: Sequence[str]) -> str | None:
    """Another key than the seed with two to four values, if there is exactly one; none for the seed itself."""
    others = [other for other in keys if other not in (key, SEED)]
    counts = {other: len({trial.entry.values.get(other) for trial in trials}) for other in others}
    few = [other for other, count in counts.items() if 2 <= count <= 4]
    return few[0] if len(few) == 1 and key != SEED else None


def curves(sweep: SweepRecord, keys: Sequence[str]) -> Plot | None:
    """The first metric of all trials against rounds, the best on top; None where no trial was evaluated."""
    metric = sweep.metrics[0]
    field = "accuracy" if "accuracy" in metric.name else "loss"
    level, best = levels(sweep.trials, metric), best_trial(sweep)
    known = []
    for trial in sorted(sweep.trials, key=lambda t: (t is best, -level.get(t.entry.trial, len(LEVELS)))):
        points = trial.run.split("validation") if trial.run else ()
        pairs = [(r.round, value) for r in points if math.isfinite(value := number(getattr(r, field)))]
        if pairs:
            known.append((trial, pairs))
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for trial, pairs in known:
            place, top = level.get(trial.entry.trial), trial is best
            line = axes.plot(
                *np.array(pairs, dtype=float).T,
                color=GREY if place is None else LEVELS[place],
                linewidth=3 if top else 1,
                linestyle="-" if trial.finished else (0, (3, 2)),
                label=f"best: trial {trial.entry.trial}" if top else None,
            )[0]
            line.set_gid(f"trial-{trial.entry.trial}")
            if not trial.finished:
                axes.plot(*pairs[-1], "x", color=GREY, markersize=5)
        axes.set_xlabel("round (0: zero-shot)")
        axes.set_ylabel(f"validation {field}")
        whole_rounds(axes)
        _format(axes.yaxis, field)
        if best is not None and any(trial is best for trial, _ in known):
            legend_below(figure, axes, columns=1)

    last = [(trial, pairs[-1]) for trial, pairs in known]
    low, high = min(value for _, (_, value) in last), max(value for _, (_, value) in last)
    alt = (
        f"Validation {field} of {len(known)} trials against rounds; their last values go from "
        f"{text_figure(field, low)} to {text_figure(field, high)}."
    )
    if best is not None:
        alt += f" The best is trial {best.entry.trial}."
    note = "Colours as in the parallel coordinates: blue is best, orange worst."
    if not all(trial.finished for trial, _ in known):
        note += " Dashed, with a cross at the end: trials that did not run to the end."
    marks = {
        f"trial-{t.entry.trial}": Mark(trial_text(sweep, t, keys), (t.entry.trial,), reachable=False) for t, _ in known
    }
    return plot(f"Validation {field} of all trials", alt, draw, 3.8, note, marks=marks)


def _format(axis, name: str) -> None:
    """Marks of an axis in the unit of its figure."""
    axis.set_major_locator(MaxNLocator(6))
    if name.endswith(("accuracy", "share")):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
