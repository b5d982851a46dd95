"""Validation loss and accuracy against rounds, bytes per client and forward passes per client.

One line per group of runs that differ in the seed alone: the mean over the seeds, with a band from the smallest to
the largest. Bytes are a client's, up and down together, that takes part in every round. A forward pass is one of the
whole model on one batch, mean over the clients: the blocks before a client's first active one run once for all
directions.

    python -m analysis.loss_curves runs/sweeps/epsilon -o figures/loss
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.collect import Group
from analysis.command import figure_command
from analysis.curves import accuracy_at, curve_rows, loss_at
from analysis.rows import Rows
from analysis.style import PAGE_IN, curve, legend, letters, percent, unit_of


def rows(groups: Sequence[Group]) -> Rows:
    """The curves of every group."""
    return curve_rows(groups, {"loss": loss_at, "accuracy": accuracy_at})


def draw(found: Rows) -> Figure:
    """Loss above, accuracy (where there is one) below, three costs side by side."""
    names = ["loss", "accuracy"] if found.known("accuracy_mean") else ["loss"]
    figure = Figure(figsize=(PAGE_IN, 1.75 * len(names) + 0.75), layout="constrained")
    panels = figure.subplots(len(names), 3, sharey="row", sharex="col", squeeze=False)
    factor, unit = unit_of(found.column("bytes_per_client"))
    for index, (label, part) in enumerate(found.parts()):
        for name, line in zip(names, panels, strict=True):
            curve(line[0], part, "round", f"{name}", index, label)
            curve(line[1], part, "bytes_per_client", name, index, label, factor)
            curve(line[2], part, "forward_passes_per_client", name, index, label)
    for name, line in zip(names, panels, strict=True):
        line[0].set_ylabel(f"validation {name}")
        if name == "accuracy":
            percent(line[0])
    titles = ("round", f"bytes per client, up and down ({unit})", "forward passes per client")
    for axes, title in zip(panels[-1], titles, strict=True):
        axes.set_xlabel(title)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=axes is panels[-1][0]))
    letters(panels)
    legend(figure, panels[0][0], found.over_seeds())
    return figure


if __name__ == "__main__":
    raise SystemExit(figure_command(__doc__, rows, draw))
