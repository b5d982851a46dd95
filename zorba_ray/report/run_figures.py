"""The figures of one run and of several: evaluations, training, allocation, traffic."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zorba_ray.artifacts import Run
from zorba_ray.report.allocation_pictures import allocation_plots
from zorba_ray.report.figure import BLUE, GREY, PALE, RED, Plot, legend, look, percent, plot, unit_of, whole_rounds
from zorba_ray.report.run_tables import memory_label, met_text
from zorba_ray.tables.text import text_bytes


def run_plots(run: Run) -> list[Plot]:
    """All figures of one run; those without data are left out."""
    curves = [("validation", run, "validation"), ("test", run, "test")]
    plots = [_evaluations(curves, "loss"), _evaluations(curves, "accuracy"), _training(run)]
    plots += [*allocation_plots(run.allocation, memory_label(run), met_text(run)), _traffic(run)]
    return [plot for plot in plots if plot is not None]


def compared_plots(runs: Sequence[Run], names: Sequence[str]) -> list[Plot]:
    """Validation curves of several runs over each other."""
    curves = [(name, run, "validation") for name, run in zip(names, runs, strict=True)]
    return [plot for field in ("loss", "accuracy") if (plot := _evaluations(curves, field)) is not None]


def _evaluations(curves: Sequence[tuple[str, Run, str]], field: str) -> Plot | None:
    """Loss or accuracy against rounds, of (name, run, split); round 0 is zero-shot."""
    known = [(name, split, points) for name, run, split in curves if len(points := _points(run.split(split), field))]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (name, split, points) in enumerate(known):
            test = {"linestyle": "none", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
            axes.plot(*points.T, label=name, **look(index) | ({"markersize": 4} if split == "validation" else test))
        axes.set(xlabel="round (0: zero-shot)", ylabel=field)
        whole_rounds(axes)
        if field == "accuracy":
            percent(axes.yaxis)
        if len(known) > 1:
            legend(figure, axes)

    splits = dict.fromkeys(split for _, split, _ in known)
    return plot(f"{field.capitalize()}: {' and '.join(splits)}", draw, 2.9)


def _training(run: Run) -> Plot | None:
    """Training loss above, spread of the scalars below."""
    losses = _points(run.rounds, "loss")
    if not len(losses):
        return None

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        (x, y), width = losses.T, max(1, len(losses) // 12)
        top.plot(x, y, color=BLUE if width == 1 else PALE, linewidth=1, label="round")
        if width > 1:
            smooth = np.convolve(y, np.ones(width) / width, "valid")
            top.plot(x[width - 1 :], smooth, color=BLUE, label=f"mean of {width}")
            top.legend(loc="upper right", ncols=2)
        bottom.plot(*_points(run.rounds, "scalar_rms").T, color=RED, label="rms")
        bottom.plot(*_points(run.rounds, "scalar_mean").T, color=GREY, linestyle="--", label="mean")
        bottom.legend(loc="upper right", ncols=2)
        bottom.set_ylim(top=1.35 * bottom.get_ylim()[1])
        top.set_ylabel("training loss")
        bottom.set(xlabel="round", ylabel="scalars ρ")
        whole_rounds(bottom)

    return plot("Training loss and scalars", draw, 3.8)


def _traffic(run: Run) -> Plot | None:
    """Bytes over all clients, up and down: per round above, from the start on below."""
    sent = {way: _points(run.rounds, f"bytes_{way}") for way in ("down", "up")}
    if not all(len(points) for points in sent.values()):
        return None
    total = {way: points[:, 1].sum() for way, points in sent.items()}

    def panel(axes: Axes, curves: dict[str, np.ndarray], what: str) -> None:
        size, unit = unit_of(max(points[:, 1].max() for points in curves.values()))
        for (way, points), color, dash in zip(curves.items(), (RED, BLUE), ("-", "--"), strict=True):
            axes.plot(points[:, 0], points[:, 1] / size, color=color, linestyle=dash, label=f"{way}, all clients")
        axes.set_ylim(bottom=0, top=1.08 * axes.get_ylim()[1])
        axes.set_ylabel(f"{what}, {unit}")

    def draw(figure: Figure) -> None:
        each, whole = figure.subplots(2, 1, sharex=True)
        panel(each, sent, "per round")
        panel(whole, {way: np.c_[points[:, 0], points[:, 1].cumsum()] for way, points in sent.items()}, "so far")
        whole.set_xlabel("round")
        whole_rounds(whole)
        legend(figure, each)

    note = f"Over all rounds and clients: up {text_bytes(total['up'])}, down {text_bytes(total['down'])}."
    return plot("Bytes sent", draw, 3.8, note)


def _points(records: Sequence[object], field: str) -> np.ndarray:
    """float64 [k, 2]: (round, value) of the records that know it."""
    known = [(getattr(r, "round"), value) for r in records if (value := getattr(r, field)) is not None]  # noqa: B009
    return np.array(known, dtype=np.float64).reshape(-1, 2)
