"""Validation loss and accuracy against rounds, bytes per client and forward passes per client.

One line per group of runs that differ in the seed alone: the mean over the seeds, with a band from the smallest to
the largest. Bytes are a client's, up and down together, that takes part in every round. A forward pass is one of the
whole model on one batch, mean over the clients: the blocks before a client's first active one run once for all
directions.

    python -m analysis.loss_curves runs/sweeps/epsilon -o figures/loss
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.command import figure, runs_command
from analysis.draw import Panel, panels_figure
from analysis.groups import Group
from analysis.rows import Rows, accuracy_at, curve_rows, loss_at

_COSTS = {
    "round": "round",
    "bytes_per_client": "bytes per client, up and down ({})",
    "forward_passes_per_client": "forward passes per client",
}


def rows(groups: Sequence[Group]) -> Rows:
    """The curves of every group."""
    return curve_rows(groups, {"loss": loss_at, "accuracy": accuracy_at})


def draw(found: Rows) -> Figure:
    """Loss above, accuracy (where there is one) below, three costs side by side."""
    panels = [
        Panel(
            x,
            y,
            xlabel,
            f"validation {y}" if x == "round" else "",
            curve=True,
            in_bytes="bytes" in x,
            integers="x" if x == "round" else "",
            shares=y == "accuracy",
        )
        for y in ("loss", "accuracy")
        if found.known(f"{y}_mean")
        for x, xlabel in _COSTS.items()
    ]
    return panels_figure(found, panels, 3, 1.85 * len(panels) / 3 + 0.65)


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, figure(draw)))
