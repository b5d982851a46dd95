"""Figures of runs and sweeps for a paper: what each puts against what is a row of FIGURES.

    python -m analysis.figures epsilon runs/sweeps/epsilon -o figures/epsilon

A line is a group of runs that differ in nothing but the seed, or in what stands along x: the mean over the seeds, with
a band or bar from the smallest to the largest.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from analysis.command import drawn_by, make, parser_of
from analysis.draw import Panel, panels_figure
from analysis.groups import Group, collect
from analysis.rows import At, Rows, accuracy_at, curve_rows, distance_at, loss_at, rows_against
from zorba_ray.artifacts import Run
from zorba_ray.artifacts.sweep import last_value
from zorba_ray.report.measures import (
    Measure,
    bytes_per_round,
    final_loss,
    vram_saved,
)
from zorba_ray.units import format_bytes

_ACCURACY = last_value("validation", "accuracy")


@dataclass(frozen=True)
class Curves:
    """Against rounds and what they cost: a point at every evaluated round."""

    panels: Sequence[Panel]
    measures: Mapping[str, At]
    across: int = 3

    def rows(self, groups: Sequence[Group]) -> Rows:
        """As `curve_rows`."""
        return curve_rows(groups, self.measures)


@dataclass(frozen=True)
class Ends:
    """At the end of runs, against one quantity: a point for every value of it."""

    panels: Sequence[Panel]
    x: str
    """Column of the quantity."""
    of: Callable[[Group], float | None]
    """The quantity; groups with None are left out."""
    varied: Sequence[str]
    """Settings in which the groups of a series may differ."""
    measures: Mapping[str, Measure] = field(default_factory=lambda: {"loss": final_loss, "accuracy": _ACCURACY})
    across: int = 1
    alike: Callable[[dict[str, Any]], dict[str, Any]] = lambda settings: settings
    """Settings with what follows from the quantity made equal."""
    noted: Callable[[Rows], list[str]] = lambda rows: []
    """What must be known beside the figure."""

    def rows(self, groups: Sequence[Group]) -> Rows:
        """As `rows_against`."""
        groups = [replace(group, settings=self.alike(group.settings)) for group in groups]
        rows = rows_against(groups, self.x, self.of, self.varied, self.measures)
        return replace(rows, notes=(*rows.notes, *self.noted(rows)))


def alpha(group: Group) -> float | None:
    """α of the Dirichlet partition; iid is what α tends to, and other partitions have none."""
    alphas = {"dirichlet": group.settings["data.alpha"], "iid": math.inf}
    return alphas.get(group.settings["data.partition"])


def one_of_each_class(settings: dict[str, Any]) -> dict[str, Any]:
    """The counts of a fleet follow the number of clients; what stays the same is its classes."""
    fleet = settings["federation.fleet"]
    same = {"federation.fleet": [{**kind, "count": 1} for kind in fleet]} if isinstance(fleet, list) else {}
    return settings | same


def variation(values: Sequence[float]) -> float:
    """Coefficient of variation: population standard deviation / mean."""
    return pstdev(values) / fmean(values)


def ratio(values: Sequence[float]) -> float:
    """The largest over the smallest."""
    return max(values) / min(values)


def budgets(run: Run) -> list[int]:
    """One per client; empty where a client has none."""
    known = [client.budget_bytes for client in run.allocation.clients]
    return [budget for budget in known if budget] if all(known) else []


def blocks(run: Run) -> list[int]:
    """Active blocks of each client."""
    return [len(client.blocks) for client in run.allocation.clients]


def budget_variation(group: Group) -> float | None:
    """Of the budgets, 0 where all are alike; None where a client has no budget."""
    if not all(budgets(run) for run in group.runs):
        return None
    return round(fmean(variation(budgets(run)) for run in group.runs), 6)


def mean_budget(group: Group) -> float | None:
    """Bytes, over the clients; None where a client has no budget."""
    if not all(budgets(run) for run in group.runs):
        return None
    return fmean(fmean(budgets(run)) for run in group.runs)


def totals_that_differ(rows: Rows) -> list[str]:
    """A warning, where the fleets do not have the same bytes in all (within 1 %)."""
    totals = rows.column("budget_total_bytes_mean")
    if totals.max() <= 1.01 * totals.min():
        return []
    span = f"{format_bytes(totals.min())} to {format_bytes(totals.max())}"
    return [f"the fleets' total budgets differ: {span}; only fleets of equal total show what their spread does"]


def _final(x: str, xlabel: str, **more: Any) -> list[Panel]:
    """Final loss above, accuracy below."""
    return [
        Panel(x, "loss", xlabel, "final validation loss", **more),
        Panel(x, "accuracy", xlabel, "final validation accuracy", shares=True, **more),
    ]


_COSTS = {
    "round": "round",
    "bytes_per_client": "bytes per client, up and down ({unit})",
    "forward_passes_per_client": "forward passes per client",
}
_SPREAD = "CV of VRAM budgets"
FIGURES: dict[str, Curves | Ends] = {
    "loss_curves": Curves(
        [
            Panel(x, y, xlabel, f"validation {y}" if x == "round" else "", curve=True, shares=y == "accuracy")
            for y in ("loss", "accuracy")
            for x, xlabel in _COSTS.items()
        ],
        {"loss": loss_at, "accuracy": accuracy_at},
    ),
    "seeds_mode": Curves(
        [
            Panel("round", "loss", "round", "validation loss", curve=True),
            Panel("round", "distance", "round", "‖θ − θ₀‖", curve=True),
            Panel("distance_mean", "loss", "‖θ − θ₀‖", "validation loss", curve=True),
        ],
        {"loss": loss_at, "distance": distance_at},
    ),
    "epsilon": Ends(
        [
            Panel(
                "fleet_vram_bytes_mean",
                "loss",
                "fleet VRAM ({unit}; {source})",
                "final validation loss",
                names="epsilon",
            ),
            Panel("epsilon", "loss", "ε", "final validation loss"),
            Panel("epsilon", "f1", "ε", "f1 (all blocks active: 1)"),
        ],
        "epsilon",
        lambda group: group.settings["allocation.epsilon"],
        ["allocation.epsilon"],
        {
            "loss": final_loss,
            "fleet_vram_bytes": lambda run: run.allocation.f2_bytes,
            "vram_saved": vram_saved,
            "f1": lambda run: run.allocation.f1,
        },
        across=3,
    ),
    "clients": Ends(
        [
            Panel("clients", "loss", "clients N", "final validation loss", log=True),
            Panel("clients", "bytes_up", "clients N", "bytes up, client and round", log=True),
            Panel("clients", "bytes_down", "clients N", "bytes down, client and round", log=True),
        ],
        "clients",
        lambda group: group.settings["federation.clients"],
        ["federation.clients"],
        {
            "loss": final_loss,
            "bytes_up": lambda run: bytes_per_round(run, "up"),
            "bytes_down": lambda run: bytes_per_round(run, "down"),
        },
        across=3,
        alike=one_of_each_class,
    ),
    "vram_heterogeneity": Ends(
        [
            Panel("budget_cv", "loss", _SPREAD, "final validation loss"),
            Panel("budget_cv", "bytes_ratio", _SPREAD, "largest client / smallest, bytes\n({source})"),
            Panel("budget_cv", "blocks_ratio", _SPREAD, "largest client / smallest, active blocks"),
        ],
        "budget_cv",
        budget_variation,
        ["federation.fleet"],
        {
            "budget_total_bytes": lambda run: sum(budgets(run)),
            "loss": final_loss,
            "bytes_ratio": lambda run: ratio([client.bytes for client in run.allocation.clients]),
            "blocks_ratio": lambda run: ratio(blocks(run)),
        },
        across=3,
        noted=totals_that_differ,
    ),
    "budget": Ends(
        [
            Panel("budget", "blocks", "budget of a client ({unit})", "active blocks of a client"),
            Panel(
                "budget",
                "saved",
                "budget of a client ({unit})",
                "bytes below all blocks active\n({source})",
                shares=True,
            ),
            Panel("budget", "loss", "budget of a client ({unit})", "final validation loss"),
        ],
        "budget",
        mean_budget,
        ["federation.fleet"],
        {"blocks": lambda run: fmean(blocks(run)), "saved": vram_saved, "loss": final_loss},
        across=3,
    ),
    "non_iid": Ends(
        _final("alpha", "α of the Dirichlet partition", log=True, level="iid"),
        "alpha",
        alpha,
        ["data.alpha", "data.partition"],
    ),
    "perturbation_scale": Ends(
        _final("perturbation_scale", "perturbation scale μ", log=True),
        "perturbation_scale",
        lambda group: group.settings["zo.perturbation_scale"],
        ["zo.perturbation_scale"],
    ),
}
"""Name, mostly that of the sweep -> what is drawn."""


def rows(name: str, paths: Sequence[Path]) -> Rows:
    """The numbers of a figure; runs that are left out are named on stderr.

    Raises:
        RunDirError: no finished run, or too few of them for this figure.
    """
    groups, left_out = collect(paths)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    return FIGURES[name].rows(groups)


def main(arguments: Sequence[str] | None = None) -> int:
    """OUT.csv, OUT.pdf, OUT.png. Returns the exit code."""
    given = parser_of(__doc__, "run directories and sweep directories", FIGURES).parse_args(arguments)
    figure = FIGURES[given.name]
    draw = partial(panels_figure, panels=figure.panels, across=figure.across)
    return make(given.out, partial(rows, given.name, given.dirs), drawn_by(draw))


if __name__ == "__main__":
    raise SystemExit(main())
