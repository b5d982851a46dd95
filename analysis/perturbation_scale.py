"""Final validation loss and accuracy against μ, the finite-difference step.

A large μ measures the curvature with the slope, a small one the rounding of the losses.

    python -m analysis.perturbation_scale runs/sweeps/perturbation_scale -o figures/mu
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.against import rows_against
from analysis.collect import Group
from analysis.command import figure_command
from analysis.rows import Rows, final_accuracy, final_loss
from analysis.style import COLUMN_IN, legend, letters, percent, points


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss and accuracy of every μ."""
    return rows_against(
        groups,
        "perturbation_scale",
        lambda group: group.settings["zo.perturbation_scale"],
        ["zo.perturbation_scale"],
        {"loss": final_loss, "accuracy": final_accuracy},
    )


def draw(found: Rows) -> Figure:
    """Loss above, accuracy (where there is one) below; μ on a logarithmic axis."""
    names = ["loss", "accuracy"] if found.known("accuracy_mean") else ["loss"]
    figure = Figure(figsize=(COLUMN_IN, 1.5 * len(names) + 0.8), layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for name, axes in zip(names, panels, strict=True):
        for index, (label, part) in enumerate(found.parts()):
            points(axes, part, "perturbation_scale", name, index, label)
        axes.set_ylabel(f"final validation {name}")
    if "accuracy" in names:
        percent(panels[1])
    panels[-1].set_xscale("log")
    panels[-1].set_xlabel("perturbation scale μ")
    letters(panels)
    legend(figure, panels[0], found.over_seeds())
    return figure


if __name__ == "__main__":
    raise SystemExit(figure_command(__doc__, rows, draw))
