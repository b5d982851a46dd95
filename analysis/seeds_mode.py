"""Shared directions against directions of each client's own: validation loss and ‖θ − θ0‖ against rounds.

With one direction for all, the scalars of the clients multiply the same z and add up: θ goes further from θ0 for the
same fall of the loss (algorithm.md §5).

    python -m analysis.seeds_mode runs/sweeps/seeds_mode -o figures/seeds_mode
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.collect import Group
from analysis.command import figure_command
from analysis.curves import curve_rows, distance_at, loss_at
from analysis.rows import Rows
from analysis.style import PAGE_IN, curve, legend, letters
from zorba_ray.errors import RunDirError


def rows(groups: Sequence[Group]) -> Rows:
    """The curves of every group.

    Raises:
        RunDirError: only one of the two modes is there.
    """
    modes = {group.settings["federation.seeds"] for group in groups}
    if len(modes) < 2:
        raise RunDirError(
            "seeds_mode compares federation.seeds=shared with per_client; "
            f"the finished runs have {' and '.join(sorted(modes))} only"
        )
    return curve_rows(groups, {"loss": loss_at, "distance": distance_at})


def draw(found: Rows) -> Figure:
    """Loss, distance, and loss against distance."""
    figure = Figure(figsize=(PAGE_IN, 2.5), layout="constrained")
    loss, distance, both = panels = figure.subplots(1, 3)
    for index, (label, part) in enumerate(found.parts()):
        curve(loss, part, "round", "loss", index, label)
        curve(distance, part, "round", "distance", index, label)
        curve(both, part, "distance_mean", "loss", index, label)
    loss.set(xlabel="round", ylabel="validation loss")
    distance.set(xlabel="round", ylabel="‖θ − θ₀‖")
    both.set(xlabel="‖θ − θ₀‖", ylabel="validation loss")
    for axes in (loss, distance):
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    letters(panels)
    legend(figure, loss, found.over_seeds())
    return figure


if __name__ == "__main__":
    raise SystemExit(figure_command(__doc__, rows, draw))
