"""What more clients change: final validation loss, bytes per client and round, seconds per round, against N.

Fleets with the same classes are one series, whatever the counts. Seconds are wall time of a round (median of the run)
on the machine that simulated all clients: they tell the cost of the simulation, not of a deployment.

    python -m analysis.client_scaling runs/sweeps/clients -o figures/clients
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from analysis.command import figure, runs_command
from analysis.draw import Panel, panels_figure
from analysis.groups import Group
from analysis.rows import Rows, rows_against
from zorba_ray.report.measures import bytes_per_round, final_loss, seconds_per_round

_PANELS = (
    Panel("clients", "loss", "clients N", "final validation loss", log=2),
    Panel("clients", "bytes_down", "clients N", "bytes per client and round", log=2, hollow="bytes_up", bottom=0),
    Panel("clients", "seconds_per_round", "clients N", "seconds per round (simulation)", log=2, bottom=0),
)


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss, bytes up and down per client and round, seconds per round of every N."""
    return rows_against(
        [replace(group, settings=_without_counts(group.settings)) for group in groups],
        "clients",
        lambda group: group.settings["federation.clients"],
        ["federation.clients"],
        {
            "loss": final_loss,
            "bytes_up": lambda run: bytes_per_round(run, "up"),
            "bytes_down": lambda run: bytes_per_round(run, "down"),
            "seconds_per_round": seconds_per_round,
        },
    )


def _without_counts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fleet's counts follow N; what stays the same is its classes."""
    fleet = settings["federation.fleet"]
    same = {"federation.fleet": [{**kind, "count": 1} for kind in fleet]} if isinstance(fleet, list) else {}
    return {**settings, **same}


def draw(found: Rows) -> Figure:
    """Three panels over the number of clients, which doubles from mark to mark."""
    return panels_figure(found, _PANELS, 3, 2.4, f"{found.over_seeds()}; (b): filled down, hollow up")


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, figure(draw)))
