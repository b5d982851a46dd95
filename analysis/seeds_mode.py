"""Shared directions against directions of each client's own: validation loss and ‖θ − θ0‖ against rounds.

With one direction for all, the scalars of the clients multiply the same z and add up: θ goes further from θ0 for the
same fall of the loss (algorithm.md §5).

    python -m analysis.seeds_mode runs/sweeps/seeds_mode -o figures/seeds_mode
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.command import figure, runs_command
from analysis.draw import Panel, panels_figure
from analysis.groups import Group
from analysis.rows import Rows, curve_rows, distance_at, loss_at
from zorba_ray.errors import RunDirError

_PANELS = (
    Panel("round", "loss", "round", "validation loss", curve=True, integers="x"),
    Panel("round", "distance", "round", "‖θ − θ₀‖", curve=True, integers="x"),
    Panel("distance_mean", "loss", "‖θ − θ₀‖", "validation loss", curve=True),
)


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
    return panels_figure(found, _PANELS, 3, 2.5)


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, figure(draw)))
