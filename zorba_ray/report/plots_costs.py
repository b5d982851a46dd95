"""Figures of what a run cost: bytes sent, seconds by part."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zorba_ray.artifacts import Run
from zorba_ray.report.canvas import BLUE, RED, Plot, legend_below, plot, unit_of, whole_rounds
from zorba_ray.report.numbers import text_bytes, text_percent, text_seconds
from zorba_ray.report.tables import time_by_part


def traffic(run: Run) -> Plot | None:
    """Bytes over all clients, up and down: per round above, from the start on below."""
    up = [(record.round, record.bytes_up) for record in run.rounds if record.bytes_up is not None]
    down = [(record.round, record.bytes_down) for record in run.rounds if record.bytes_down is not None]
    if not up or not down:
        return None

    def draw(figure: Figure) -> None:
        each, total = figure.subplots(2, 1, sharex=True)
        size, unit = unit_of(max(count for _, count in down + up))
        all_size, all_unit = unit_of(max(sum(y for _, y in down), sum(y for _, y in up)))
        for curve, color, dash, name in ((down, RED, "-", "down"), (up, BLUE, "--", "up")):
            x, y = [number for number, _ in curve], np.array([count for _, count in curve])
            each.plot(x, y / size, color=color, ls=dash, drawstyle="steps-mid", label=f"{name}, all clients")
            total.plot(x, y.cumsum() / all_size, color=color, ls=dash)
        for axes, text in ((each, f"per round, {unit}"), (total, f"so far, {all_unit}")):
            axes.set_ylim(bottom=0, top=1.08 * axes.get_ylim()[1])
            axes.set_ylabel(text)
            axes.yaxis.set_major_locator(MaxNLocator(5))
        total.set_xlabel("round")
        whole_rounds(total)
        legend_below(figure, each, columns=2)

    totals = f"up {text_bytes(sum(y for _, y in up))}, down {text_bytes(sum(y for _, y in down))}"
    alt = f"Bytes sent over all clients, per round and from the start on; in all {totals}."
    return plot("Bytes sent", alt, draw, 3.8, f"Over all rounds and clients: {totals}.")


def time_parts(run: Run) -> Plot | None:
    """Seconds of all rounds by part, evaluation beside them."""
    parts = time_by_part(run)
    if not parts:
        return None
    parts["evaluation, beside the rounds"] = sum(record.eval_s for record in run.evals)
    total = sum(parts.values())

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = np.arange(len(parts))
        seconds = list(parts.values())
        axes.barh(rows, seconds, height=0.4, color=BLUE)
        for row, (name, value) in enumerate(parts.items()):
            axes.text(0, row - 0.3, f"{name}: {text_seconds(value)}, {text_percent(value / total)}", va="bottom")
        axes.set_ylim(len(parts) - 0.6, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("seconds, all rounds on record")

    told = "; ".join(f"{name} {text_seconds(value)}" for name, value in parts.items())
    return plot("Time by part", f"Seconds by part over all rounds: {told}.", draw, 0.7 + 0.5 * len(parts))
