"""Final validation loss and accuracy against α of the Dirichlet partition; a small α is uneven.

Runs with `data.partition=iid`, what α tends to, are a level line.

    python -m analysis.non_iid runs/sweeps/non_iid -o figures/non_iid
"""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.command import figure, runs_command
from analysis.draw import final_figure
from analysis.groups import Group
from analysis.rows import Rows, rows_against
from zorba_ray.report.measures import final_accuracy, final_loss


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss and accuracy of every α; iid is α = inf. Other partitions have no α and are left out."""
    return rows_against(
        groups, "alpha", _alpha, ["data.alpha", "data.partition"], {"loss": final_loss, "accuracy": final_accuracy}
    )


def _alpha(group: Group) -> float | None:
    alphas = {"dirichlet": group.settings["data.alpha"], "iid": math.inf}
    return alphas.get(group.settings["data.partition"])


def draw(found: Rows) -> Figure:
    """Loss above, accuracy below; α on a logarithmic axis."""
    return final_figure(found, "alpha", "α of the Dirichlet partition", "iid")


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, figure(draw)))
