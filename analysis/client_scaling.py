"""What more clients change: final validation loss, bytes per client and round, seconds per round, against N.

Fleets with the same classes are one series, whatever the counts. Seconds are wall time of a round (median of the run)
on the machine that simulated all clients: they tell the cost of the simulation, not of a deployment.

    python -m analysis.client_scaling runs/sweeps/clients -o figures/clients
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.against import rows_against
from analysis.collect import Group
from analysis.command import figure_command
from analysis.cost import seconds_per_round
from analysis.rows import Rows, final_loss
from analysis.style import PAGE_IN, legend, letters, points
from zorba_ray.artifacts import Run


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss, bytes up and down per client and round, seconds per round of every N."""
    return rows_against(
        [replace(group, settings=_without_counts(group.settings)) for group in groups],
        "clients",
        lambda group: group.settings["federation.clients"],
        ["federation.clients"],
        {"loss": final_loss, "bytes_up": _up, "bytes_down": _down, "seconds_per_round": seconds_per_round},
    )


def _without_counts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fleet's counts follow N; what stays the same is its classes."""
    fleet = settings["federation.fleet"]
    if not isinstance(fleet, list):
        return dict(settings)
    return {**settings, "federation.fleet": [{**kind, "count": 1} for kind in fleet]}


def _up(run: Run) -> float | None:
    return run.summary.bytes_up_per_client_round if run.summary else None


def _down(run: Run) -> float | None:
    return run.summary.bytes_down_per_client_round if run.summary else None


def draw(found: Rows) -> Figure:
    """Three panels over the number of clients, which doubles from mark to mark."""
    figure = Figure(figsize=(PAGE_IN, 2.4), layout="constrained")
    loss, sent, time = panels = figure.subplots(1, 3)
    parts = found.parts()
    for index, (label, part) in enumerate(parts):
        points(loss, part, "clients", "loss", index, label)
        points(time, part, "clients", "seconds_per_round", index, label)
        for name, fill in (("down", None), ("up", "white")):
            points(sent, part, "clients", f"bytes_{name}", index, "", fill)
            if index == 0:
                start = (part.column("clients")[0], part.column(f"bytes_{name}_mean")[0])
                sent.annotate(name, start, textcoords="offset points", xytext=(4, 6))
    for axes in panels:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(found.column("clients")))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
        axes.set_xlabel("clients N")
    loss.set_ylabel("final validation loss")
    sent.set_ylabel("bytes per client and round")
    sent.set_ylim(bottom=0)
    time.set_ylabel("seconds per round (simulation)")
    time.set_ylim(bottom=0)
    letters(panels)
    legend(figure, loss, f"{found.over_seeds()}; (b): filled down, hollow up")
    return figure


if __name__ == "__main__":
    raise SystemExit(figure_command(__doc__, rows, draw))
