"""The trade between convergence and memory: final validation loss against the fleet's VRAM and against ε, with f1.

A point is the mean over seeds, its bars reach from the smallest to the largest. Filled points are those that no other
point of the figure beats in both loss and VRAM (of the means); the line joins them by ε.

    python -m analysis.epsilon_front runs/sweeps/epsilon -o figures/epsilon
"""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from analysis.command import figure, runs_command
from analysis.draw import points, reach
from analysis.groups import Group
from analysis.rows import Rows, rows_against
from zorba_ray.report.figure import SHEET_IN, legend, letters, look, name_points, unit_of
from zorba_ray.report.measures import final_loss, fleet_vram, vram_saved
from zorba_ray.report.trials import pareto_front


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss, fleet VRAM, share of it saved and f1 of every ε."""
    found = rows_against(
        groups,
        "epsilon",
        lambda group: group.settings["allocation.epsilon"],
        ["allocation.epsilon"],
        {
            "loss": final_loss,
            "fleet_vram_bytes": fleet_vram,
            "vram_saved": vram_saved,
            "f1": lambda run: run.allocation.f1,
        },
    )
    places = list(zip(found.column("fleet_vram_bytes_mean"), found.column("loss_mean"), strict=True))
    front = pareto_front(places)
    return replace(found, rows=tuple({**row, "on_front": int(at in front)} for at, row in enumerate(found.rows)))


def draw(found: Rows) -> Figure:
    """Three panels: loss against VRAM, loss against ε, f1 against ε."""
    figure = Figure(figsize=(SHEET_IN, 2.5), layout="constrained")
    front, loss, surrogate = panels = figure.subplots(1, 3)
    factor, unit = unit_of(found.column("fleet_vram_bytes_max").max())
    for index, (label, part) in enumerate(found.parts()):
        kind = look(index) | {"capsize": 1.8, "elinewidth": 0.8}
        x = part.column("fleet_vram_bytes_mean") / factor
        front.plot(x, part.column("loss_mean"), **look(index) | {"marker": "None", "linewidth": 0.8})
        for on_front, fill in ((1, kind["color"]), (0, "white")):
            some = part.where(part.column("on_front") == on_front)
            x, across = some.column("fleet_vram_bytes_mean") / factor, reach(some, "fleet_vram_bytes") / factor
            kind |= {"linestyle": "none", "markerfacecolor": fill}
            front.errorbar(x, some.column("loss_mean"), xerr=across, yerr=reach(some, "loss"), **kind)
        points(loss, part.column("epsilon"), part, "loss", index, label)
        points(surrogate, part.column("epsilon"), part, "f1", index, label)
    x, y = found.column("fleet_vram_bytes_mean") / factor, found.column("loss_mean")
    name_points(front, x, y, [f"{row['epsilon']:g}" for row in found.rows])
    front.set(xlabel=f"fleet VRAM ({unit}; {found.vram_source})", ylabel="final validation loss")
    loss.set(xlabel="ε", ylabel="final validation loss", ylim=front.get_ylim())
    surrogate.set(xlabel="ε", ylabel="f1 (all blocks active: 1)")
    letters(panels)
    legend(figure, loss, f"{found.over_seeds()}; (a): ε beside its point, filled: not dominated")
    return figure


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, figure(draw)))
