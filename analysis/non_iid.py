"""Final validation loss and accuracy against α of the Dirichlet partition; a small α is uneven.

Runs with `data.partition=iid`, what α tends to, are a level line.

    python -m analysis.non_iid runs/sweeps/non_iid -o figures/non_iid
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.against import rows_against
from analysis.collect import Group
from analysis.command import figure_command
from analysis.rows import Rows, final_accuracy, final_loss
from analysis.style import COLUMN_IN, legend, letters, level, percent, points


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss and accuracy of every α; iid is α = inf. Other partitions have no α and are left out."""
    return rows_against(
        groups,
        "alpha",
        _alpha,
        ["data.alpha", "data.partition"],
        {"loss": final_loss, "accuracy": final_accuracy},
    )


def _alpha(group: Group) -> float | None:
    kind = group.settings["data.partition"]
    return {"dirichlet": group.settings["data.alpha"], "iid": math.inf}.get(kind)


def draw(found: Rows) -> Figure:
    """Loss above, accuracy (where there is one) below; α on a logarithmic axis."""
    names = ["loss", "accuracy"] if found.known("accuracy_mean") else ["loss"]
    figure = Figure(figsize=(COLUMN_IN, 1.5 * len(names) + 0.8), layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for name, axes in zip(names, panels, strict=True):
        for index, (label, part) in enumerate(found.parts()):
            finite = np.isfinite(part.column("alpha"))
            points(axes, part.where(finite), "alpha", name, index, label)
            level(axes, part.where(~finite), name, index, "iid")
        axes.set_ylabel(f"final validation {name}")
    if "accuracy" in names:
        percent(panels[1])
    panels[-1].set_xscale("log")
    panels[-1].set_xlabel("α of the Dirichlet partition")
    letters(panels)
    legend(figure, panels[0], found.over_seeds())
    return figure


if __name__ == "__main__":
    raise SystemExit(figure_command(__doc__, rows, draw))
