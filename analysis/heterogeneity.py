"""What unequal clients change: loss, worst share of a budget, blocks per client, against the spread of the budgets.

The spread is the coefficient of variation of the budgets (standard deviation / mean; 0: all alike). Compare fleets of
equal total: the CSV has each fleet's total and its largest budget over its smallest, and fleets whose totals differ
by more than 1 % are named.

    python -m analysis.heterogeneity runs/sweeps/vram_heterogeneity -o figures/heterogeneity
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, pstdev

from matplotlib.figure import Figure

from analysis.command import figure, runs_command
from analysis.draw import Panel, panels_figure
from analysis.groups import Group
from analysis.rows import Rows, rows_against
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError
from zorba_ray.report.measures import final_loss
from zorba_ray.units import format_bytes


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss, worst share and the blocks that clients hold, of every fleet.

    Raises:
        RunDirError: no run has VRAM budgets for all its clients, or all fleets have the same spread.
    """
    with_budgets = [group for group in groups if all(_budgets(run) for run in group.runs)]
    if not with_budgets:
        raise RunDirError("heterogeneity needs runs with VRAM budgets (federation.fleet); none of these has any")
    found = rows_against(
        with_budgets,
        "budget_cv",
        lambda group: round(fmean(variation(_budgets(run)) for run in group.runs), 6),
        ["federation.fleet"],
        {
            "budget_max_over_min": lambda run: max(_budgets(run)) / min(_budgets(run)),
            "budget_total_bytes": lambda run: sum(_budgets(run)),
            "loss": final_loss,
            "worst_share": lambda run: max(client.share or 0.0 for client in run.allocation.clients),
            "blocks": lambda run: fmean(_blocks(run)),
            "fewest_blocks": lambda run: min(_blocks(run)),
            "most_blocks": lambda run: max(_blocks(run)),
            "blocks_cv": lambda run: variation(_blocks(run)),
        },
    )
    totals, notes = found.column("budget_total_bytes_mean"), []
    if totals.max() > 1.01 * totals.min():
        span = f"{format_bytes(totals.min())} to {format_bytes(totals.max())}"
        notes.append(
            f"the fleets' total budgets differ: {span}; only fleets of equal total show what their spread does"
        )
    if skipped := len(groups) - len(with_budgets):
        notes.append(f"{skipped} groups without VRAM budgets are left out")
    return replace(found, notes=tuple(notes))


def variation(values: Sequence[float]) -> float:
    """Coefficient of variation: population standard deviation / mean."""
    return pstdev(values) / fmean(values)


def _budgets(run: Run) -> list[int]:
    """One per client; empty where a client has none."""
    budgets = [client.budget_bytes for client in run.allocation.clients]
    return [budget for budget in budgets if budget] if all(budgets) else []


def _blocks(run: Run) -> list[int]:
    return [len(client.blocks) for client in run.allocation.clients]


def draw(found: Rows) -> Figure:
    """Four panels over the coefficient of variation of the budgets."""
    x = ("budget_cv", "CV of VRAM budgets")
    held, source = "active blocks per client\n(line: mean, band: fewest–most)", found.vram_source
    panels = [
        Panel(x[0], "loss", x[1], "final validation loss"),
        Panel(x[0], "worst_share", x[1], f"worst share of a budget\n({source})", shares=True, bottom=0),
        Panel(x[0], "blocks", x[1], held, band=("fewest_blocks_min", "most_blocks_max"), integers="y"),
        Panel(x[0], "blocks_cv", x[1], "CV of active blocks"),
    ]
    return panels_figure(found, panels, 2, 4.4)


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, figure(draw)))
