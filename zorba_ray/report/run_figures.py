"""The figures of one run and of several: evaluations, training, allocation."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from zorba_ray.artifacts import Run
from zorba_ray.report.allocation_pictures import allocation_plots
from zorba_ray.report.curves import Line, curves_plot
from zorba_ray.report.figure import BLUE, GREY, PALE, RED, Plot, plot, whole_rounds


def run_plots(run: Run) -> list[Plot]:
    """All figures of one run; those without data are left out."""
    lines = [Line(split, [run], split) for split in ("validation", "test")]
    plots = [curves_plot("Loss", lines), curves_plot("Accuracy", lines, "accuracy"), _training(run)]
    plots += allocation_plots(run.allocation)
    return [plot for plot in plots if plot is not None]


def compared_plots(runs: Sequence[Run], names: Sequence[str]) -> list[Plot]:
    """Validation curves of several runs over each other."""
    lines = [Line(name, [run]) for name, run in zip(names, runs, strict=True)]
    plots = [curves_plot("Validation loss", lines), curves_plot("Validation accuracy", lines, "accuracy")]
    return [plot for plot in plots if plot is not None]


def _training(run: Run) -> Plot | None:
    """Training loss above, spread of the scalars below."""
    losses = _points(run, "loss")
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
        bottom.plot(*_points(run, "scalar_rms").T, color=RED, label="rms")
        bottom.plot(*_points(run, "scalar_mean").T, color=GREY, linestyle="--", label="mean")
        bottom.legend(loc="upper right", ncols=2)
        bottom.set_ylim(top=1.35 * bottom.get_ylim()[1])
        top.set_ylabel("training loss")
        bottom.set(xlabel="round", ylabel="scalars ρ")
        whole_rounds(bottom)

    return plot("Training loss and scalars", draw, 3.8)


def _points(run: Run, field: str) -> np.ndarray:
    """float64 [k, 2]: (round, value) of the rounds that know it."""
    known = [(record.round, value) for record in run.rounds if (value := getattr(record, field)) is not None]
    return np.array(known, dtype=np.float64).reshape(-1, 2)
