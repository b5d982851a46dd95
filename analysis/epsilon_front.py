"""The trade between convergence and memory: final validation loss against the fleet's VRAM and against ε, with f1.

A point is the mean over seeds, its bars reach from the smallest to the largest. Filled points are those that no other
point of the figure beats in both loss and VRAM (of the means); the line joins them by ε.

    python -m analysis.epsilon_front runs/sweeps/epsilon -o figures/epsilon
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.against import rows_against
from analysis.collect import Group
from analysis.command import figure_command
from analysis.cost import vram_saved
from analysis.labels import name_points
from analysis.rows import Row, Rows, final_loss
from analysis.style import PAGE_IN, legend, letters, look, plain, points, reach, unit_of


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss, fleet VRAM, share of it saved and f1 of every ε."""
    found = rows_against(
        groups,
        "epsilon",
        lambda group: group.settings["allocation.epsilon"],
        ["allocation.epsilon"],
        {
            "loss": final_loss,
            "fleet_vram_bytes": lambda run: run.allocation.f2_bytes,
            "vram_saved": vram_saved,
            "f1": lambda run: run.allocation.f1,
        },
    )
    marked = tuple({**row, "on_front": int(not any(_beats(other, row) for other in found.rows))} for row in found.rows)
    return replace(found, rows=marked)


def _beats(other: Row, row: Row) -> bool:
    """Smaller or equal in loss and VRAM, and smaller in one."""
    pairs = [(other[key], row[key]) for key in ("loss_mean", "fleet_vram_bytes_mean")]
    known = [(float(a), float(b)) for a, b in pairs if a is not None and b is not None]
    return len(known) == 2 and all(a <= b for a, b in known) and any(a < b for a, b in known)


def draw(found: Rows) -> Figure:
    """Three panels: loss against VRAM, loss against ε, f1 against ε."""
    figure = Figure(figsize=(PAGE_IN, 2.5), layout="constrained")
    front, loss, surrogate = figure.subplots(1, 3)
    factor, unit = unit_of(found.column("fleet_vram_bytes_max"))
    for index, (label, part) in enumerate(found.parts()):
        _front(front, part, index, factor)
        points(loss, part, "epsilon", "loss", index, label)
        points(surrogate, part, "epsilon", "f1", index, label)
    front.set(xlabel=f"fleet VRAM ({unit}; {plain(found.vram_source)})", ylabel="final validation loss")
    loss.set(xlabel="ε", ylabel="final validation loss", ylim=front.get_ylim())
    surrogate.set(xlabel="ε", ylabel="f1 (all blocks active: 1)")
    letters([front, loss, surrogate])
    legend(figure, loss, f"{found.over_seeds()}; (a): ε beside its point, filled: not dominated")
    _names(front, found, factor)
    return figure


def _front(axes: Axes, part: Rows, index: int, factor: int) -> None:
    """Means joined by ε, with bars; hollow where dominated."""
    x, y, kind = part.column("fleet_vram_bytes_mean") / factor, part.column("loss_mean"), look(index)
    across, along = reach(part, "fleet_vram_bytes") / factor, reach(part, "loss")
    axes.plot(x, y, color=kind["color"], linestyle=kind["linestyle"], linewidth=0.8)
    for front, fill in ((1, kind["color"]), (0, "white")):
        chosen = part.column("on_front") == front
        axes.errorbar(
            x[chosen],
            y[chosen],
            xerr=across[:, chosen],
            yerr=along[:, chosen],
            linestyle="none",
            color=kind["color"],
            marker=kind["marker"],
            markerfacecolor=fill,
            capsize=1.8,
            elinewidth=0.8,
        )


def _names(axes: Axes, found: Rows, factor: int) -> None:
    """ε beside every point."""
    x, y = found.column("fleet_vram_bytes_mean") / factor, found.column("loss_mean")
    along = reach(found, "loss")
    lines = [
        np.stack([part.column("fleet_vram_bytes_mean") / factor, part.column("loss_mean")], axis=1)
        for _, part in found.parts()
    ]
    bars = [np.array([(a, b - below), (a, b + above)]) for a, b, below, above in zip(x, y, *along, strict=True)]
    name_points(axes, list(zip(x, y, strict=True)), [f"{row['epsilon']:g}" for row in found.rows], [*lines, *bars])


if __name__ == "__main__":
    raise SystemExit(figure_command(__doc__, rows, draw))
