"""Final validation loss and accuracy against μ, the finite-difference step.

A large μ measures the curvature with the slope, a small one the rounding of the losses.

    python -m analysis.perturbation_scale runs/sweeps/perturbation_scale -o figures/mu
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.command import figure, runs_command
from analysis.draw import final_figure
from analysis.groups import Group
from analysis.rows import Rows, rows_against
from zorba_ray.report.measures import final_accuracy, final_loss


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
    """Loss above, accuracy below; μ on a logarithmic axis."""
    return final_figure(found, "perturbation_scale", "perturbation scale μ")


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, figure(draw)))
