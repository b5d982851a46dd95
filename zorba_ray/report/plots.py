"""The figures of one run and of several: which there are, and the curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zorba_ray.artifacts import Eval, Run
from zorba_ray.report.canvas import (
    BLUE,
    CYCLE,
    DASHES,
    GREY,
    MANY_CLIENTS,
    MARKERS,
    PALE,
    RED,
    Plot,
    legend_below,
    number,
    plot,
    short,
    whole_rounds,
)
from zorba_ray.report.numbers import text_loss, text_percent
from zorba_ray.report.plots_costs import time_parts, traffic
from zorba_ray.report.plots_memory import heat_map, vram
from zorba_ray.report.tables import last_client_losses


def figures_of_run(run: Run, memory: str) -> list[Plot]:
    """All figures of one run; those without data are left out. `memory` labels the VRAM figures."""
    return [
        found
        for found in (
            _evals([run], ["validation"], "loss", ("test",)),
            _evals([run], ["validation"], "accuracy", ("test",)),
            _training(run),
            _client_losses(run),
            heat_map(run),
            vram(run, memory),
            traffic(run),
            time_parts(run),
        )
        if found is not None
    ]


def figures_of_runs(runs: Sequence[Run], names: Sequence[str]) -> list[Plot]:
    """Overlaid curves of several runs."""
    found = (_evals(runs, names, "loss"), _evals(runs, names, "accuracy"))
    return [one for one in found if one is not None]


def _evals(runs: Sequence[Run], names: Sequence[str], field: str, extra: Sequence[str] = ()) -> Plot | None:
    """Validation (and, for one run, test) loss or accuracy against rounds; round 0 is zero-shot."""
    curves: list[tuple[str, list[Eval]]] = []
    for run, name in zip(runs, names, strict=True):
        for split, label in (("validation", name), *((split, split) for split in extra)):
            points = [record for record in run.split(split) if getattr(record, field) is not None]
            if points:
                curves.append((label, points))
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (name, points) in enumerate(curves):
            test = name in extra
            axes.plot(
                [record.round for record in points],
                [getattr(record, field) for record in points],
                color=CYCLE[index % len(CYCLE)],
                marker=MARKERS[index % len(MARKERS)],
                linestyle="none" if test else DASHES[index // len(CYCLE) % len(DASHES)],
                markersize=8 if test else 4,
                markerfacecolor="none" if test else None,
                markeredgewidth=1.8 if test else 1,
                label=name,
            )
        axes.set_xlabel("round (0: zero-shot)")
        axes.set_ylabel(field)
        whole_rounds(axes)
        if field == "accuracy":
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
        if len(curves) > 1:
            legend_below(figure, axes, columns=1 if len(runs) > 1 else 2)

    text = text_loss if field == "loss" else text_percent
    parts = [
        f"{name}: {text(getattr(points[0], field))} at round {points[0].round}"
        + (f", {text(getattr(points[-1], field))} at round {points[-1].round}" if len(points) > 1 else "")
        for name, points in curves
    ]
    title = f"{field.capitalize()}: validation" + (" and test" if extra and len(curves) > 1 else "")
    legend_in = 0.22 * len(curves) if len(runs) > 1 else 0.2
    return plot(title, f"{title} against rounds. {'; '.join(parts)}.", draw, 2.7 + legend_in)


def _training(run: Run) -> Plot | None:
    """Training loss above, spread of the scalars below."""
    known = [record for record in run.rounds if record.loss is not None]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        x = [record.round for record in known]
        y = np.array([record.loss for record in known], dtype=float)
        width = max(1, len(y) // 12)
        top.plot(x, y, color=BLUE if width == 1 else PALE, linewidth=1, label="round")
        if width > 1:
            smooth = np.convolve(y, np.ones(width) / width, mode="valid")
            top.plot(x[width - 1 :], smooth, color=BLUE, label=f"mean of {width}")
            top.legend(loc="upper right", ncols=2)
        top.set_ylabel("training loss")
        spread = [record for record in run.rounds if record.scalar_rms is not None]
        bottom.plot([r.round for r in spread], [number(r.scalar_rms) for r in spread], color=RED, label="rms")
        means = [r for r in spread if r.scalar_mean is not None]
        bottom.plot([r.round for r in means], [number(r.scalar_mean) for r in means], color=GREY, ls="--", label="mean")
        bottom.legend(loc="upper right", ncols=2)
        bottom.set_ylim(top=1.35 * bottom.get_ylim()[1])
        bottom.set_ylabel("scalars ρ")
        bottom.set_xlabel("round")
        whole_rounds(bottom)

    alt = (
        f"Training loss per round, {text_loss(known[0].loss)} at round {known[0].round}, {text_loss(known[-1].loss)} "
        f"at round {known[-1].round}; below it the root mean square and the mean of the scalars."
    )
    return plot("Training loss and scalars", alt, draw, 3.8)


def _client_losses(run: Run) -> Plot | None:
    """Training loss of each client at the end; None where the run did not record it."""
    losses = last_client_losses(run)
    clients = [client for client in run.allocation.clients if client.client in losses]
    if not clients:
        return None
    many = len(clients) > MANY_CLIENTS

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = np.arange(len(clients))
        values = [losses[client.client] for client in clients]
        axes.plot(values, rows, "o", color=BLUE, markersize=3 if many else 7, linestyle="none")
        axes.axvline(float(np.mean(values)), color=GREY, linestyle="--", linewidth=1)
        axes.set_ylim(len(clients) - 0.5, -0.5)
        if many:
            axes.set_ylabel("client")
        else:
            axes.set_yticks(rows, [f"{c.client}  {short(c.kind)}" for c in clients], fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("training loss, mean of the last reports")

    low, high = min(losses, key=lambda c: losses[c]), max(losses, key=lambda c: losses[c])
    alt = (
        f"Training loss of each client over its last reports: from {text_loss(losses[low])} (client {low}) to "
        f"{text_loss(losses[high])} (client {high})."
    )
    note = "Mean over a client's last ten reports. Dashed: mean of the clients."
    return plot("Training loss by client", alt, draw, 3.4 if many else 0.8 + 0.27 * max(5, len(clients)), note)
