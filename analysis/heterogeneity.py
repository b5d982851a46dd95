"""What unequal clients change: loss, worst share of a budget, blocks per client, against the spread of the budgets.

The spread is the coefficient of variation of the budgets (standard deviation / mean; 0: all alike). Compare fleets of
equal total: the CSV has each fleet's total and its largest budget over its smallest, and fleets whose totals differ
by more than 1 % are named.

    python -m analysis.heterogeneity runs/sweeps/vram_heterogeneity -o figures/heterogeneity
"""

from collections.abc import Sequence
from statistics import fmean

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.against import rows_against, with_note
from analysis.collect import Group
from analysis.command import figure_command
from analysis.cost import variation
from analysis.rows import Rows, final_loss
from analysis.style import PAGE_IN, legend, letters, look, percent, plain, points
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError
from zorba_ray.units import format_bytes


def rows(groups: Sequence[Group]) -> Rows:
    """Final loss, worst share and the blocks that clients hold, of every fleet.

    Raises:
        RunDirError: no run has VRAM budgets for all its clients, or all fleets have the same spread.
    """
    with_budgets = [group for group in groups if all(len(_budgets(run)) for run in group.runs)]
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
    found = with_note(found, _totals(found))
    skipped = len(groups) - len(with_budgets)
    return with_note(found, f"{skipped} groups without VRAM budgets are left out" if skipped else "")


def _budgets(run: Run) -> list[int]:
    """One per client; empty where a client has none."""
    found = [client.budget_bytes for client in run.allocation.clients]
    return [budget for budget in found if budget] if all(found) else []


def _blocks(run: Run) -> list[int]:
    return [len(client.blocks) for client in run.allocation.clients]


def _totals(found: Rows) -> str:
    totals = found.column("budget_total_bytes_mean")
    if totals.max() <= 1.01 * totals.min():
        return ""
    span = f"{format_bytes(totals.min())} to {format_bytes(totals.max())}"
    return f"the fleets' total budgets differ: {span}; only fleets of equal total show what their spread does"


def draw(found: Rows) -> Figure:
    """Four panels over the coefficient of variation of the budgets."""
    figure = Figure(figsize=(PAGE_IN, 4.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    loss, share, blocks, spread = panels.ravel()
    parts = found.parts()
    for index, (label, part) in enumerate(parts):
        points(loss, part, "budget_cv", "loss", index, label)
        points(share, part, "budget_cv", "worst_share", index, label)
        points(blocks, part, "budget_cv", "blocks", index, label)
        low, high = part.column("fewest_blocks_min"), part.column("most_blocks_max")
        blocks.fill_between(part.column("budget_cv"), low, high, alpha=0.16, linewidth=0, color=look(index)["color"])
        points(spread, part, "budget_cv", "blocks_cv", index, label)
    loss.set_ylabel("final validation loss")
    share.set_ylabel(f"worst share of a budget\n({plain(found.vram_source)})")
    share.set_ylim(0, 1.05)
    percent(share)
    blocks.set_ylabel("active blocks per client\n(line: mean, band: fewest–most)")
    blocks.yaxis.set_major_locator(MaxNLocator(integer=True))
    spread.set_ylabel("CV of active blocks")
    for axes in panels[1]:
        axes.set_xlabel("CV of VRAM budgets")
    letters(panels)
    legend(figure, loss, found.over_seeds())
    return figure


if __name__ == "__main__":
    raise SystemExit(figure_command(__doc__, rows, draw))
