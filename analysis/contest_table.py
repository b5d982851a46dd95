"""One row per comparison and method: losses, accuracies, paired differences, passes, bytes, VRAM, CPU; with a figure.

Reads directories of `zorba-ray compare`. ± is half the 95 % interval of the mean (Student t over the seeds);
differences are to the first method, seed by seed. The figure has the mean final validation loss and the paired
differences, a row per method; comparisons stand side by side.

    python -m analysis.contest_table runs/contest/trec runs/contest/sst2 -o tables/contest
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analysis.command import contest_command
from analysis.latex import table
from analysis.rows import Row, Rows
from analysis.style import PAGE_IN, letters, look, plain, save, style, unit_of
from zorba_ray.contest.records import Contest, Contestant, Estimate, Outcome
from zorba_ray.errors import RunDirError

MEASURES = (
    "final_loss", "best_loss", "final_accuracy", "best_accuracy", "test_loss", "test_accuracy", "bytes_up",
    "bytes_down", "cpu_s",
)  # fmt: skip
COMPARED = ("final_loss", "test_accuracy")


def rows(contests: Sequence[Contest]) -> Rows:
    """One row per comparison and method, in the order given.

    Raises:
        RunDirError: no method of any comparison has a finished run.
    """
    found, notes = [], []
    for state in contests:
        outcomes = {outcome.method: outcome for outcome in state.outcomes}
        for one in state.contestants:
            outcome = outcomes.get(one.method) or Outcome(method=one.method)
            found.append(_row(state, one, outcome))
            bad = [cell for cell in state.cells_of(one.method) if cell.status != "finished"]
            if bad:
                seeds = ", ".join(f"seed {cell.seed} {cell.status} after round {cell.round}" for cell in bad)
                notes.append(f"{state.name}, {one.method}: {seeds}; left out of all means")
            if one.at_end:
                notes.append(f"{state.name}, {one.method}: rate {one.rate:g} is at an end of its ladder")
    if not any(row["n"] for row in found):
        raise RunDirError(f"no finished run in {', '.join(state.name for state in contests)}")
    sources = dict.fromkeys(outcome.vram_source for state in contests for outcome in state.outcomes)
    return Rows(tuple(found), " and ".join(source for source in sources if source), tuple(notes))


def _row(state: Contest, one: Contestant, outcome: Outcome) -> Row:
    finished = state.cells_of(one.method, "finished")
    row: Row = {
        "contest": state.name,
        "series": one.method,
        "rate": one.rate,
        "rounds": one.rounds,
        "passes": one.passes_per_round * one.rounds,
        "n": len(finished),
        "seeds": " ".join(str(cell.seed) for cell in finished),
        "diverged": " ".join(str(cell.seed) for cell in state.cells_of(one.method, "diverged")),
    }
    for name in MEASURES:
        row |= _parts(name, outcome.figures.get(name))
    for name in COMPARED:
        row |= _parts(f"{name}_difference", outcome.differences.get(name))
    return row | {"vram_bytes": outcome.vram_bytes, "over_budget_bytes": outcome.over_budget_bytes}


def _parts(name: str, found: Estimate | None) -> Row:
    return {f"{name}_mean": found.mean if found else None, f"{name}_half": found.half if found else None}


def write(found: Rows, out: Path) -> list[Path]:
    """OUT.tex, and the figure as OUT.pdf and OUT.png."""
    path = out.with_name(out.name + ".tex")
    path.write_text(_latex(found), encoding="utf-8")
    with style():
        return [path, *save(draw(found), out)]


def draw(found: Rows) -> Figure:
    """Final loss above, paired difference below; a column per comparison."""
    parts = found.parts("contest")
    most = max(len(part.rows) for _, part in parts)
    figure = Figure(figsize=(PAGE_IN, 2 * (0.6 + 0.2 * most)), layout="constrained")
    panels = figure.subplots(2, len(parts), squeeze=False)
    for column, (name, part) in enumerate(parts):
        for line, measure in enumerate(("final_loss", "final_loss_difference")):
            axes = panels[line][column]
            mean, half = part.column(f"{measure}_mean"), part.column(f"{measure}_half")
            for place, known in enumerate(~np.isnan(mean)):
                if known:
                    kind = look(place) | {"linestyle": "none"}
                    reach = None if np.isnan(half[place]) else [half[place]]
                    axes.errorbar([mean[place]], [place], xerr=reach, capsize=1.8, elinewidth=0.8, **kind)
            axes.set_yticks(range(len(part.rows)), [plain(str(row["series"])) for row in part.rows])
            axes.set_ylim(len(part.rows) - 0.5, -0.5)
            if line:
                axes.axvline(0.0, color="#6b6b6b", linewidth=0.6, linestyle="--")
                axes.set_xlabel(f"final loss minus that of {plain(str(part.rows[0]['series']))}")
            else:
                axes.set_xlabel(f"final validation loss, {plain(name)}")
    letters(panels)
    return figure


def _latex(found: Rows) -> str:
    factor, unit = unit_of(found.column("vram_bytes"))
    columns = ["task", "method", "n", "rate", "rounds", "passes", "val. loss", "test acc. (%)", "difference in loss"]
    columns += ["up (B)", "down (B)", f"VRAM ({unit})", "CPU (s)"]
    body = []
    for row in found.rows:
        held, rate = row["vram_bytes"], row["rate"]
        body.append(
            [
                str(row["contest"]), str(row["series"]), str(row["n"]), "–" if rate is None else f"{rate:g}",
                str(row["rounds"]), str(row["passes"]), _cell(row, "final_loss", 1, 3),
                _cell(row, "test_accuracy", 100, 1), _cell(row, "final_loss_difference", 1, 3),
                _mean(row, "bytes_up"), _mean(row, "bytes_down"),
                "–" if held is None else f"{float(held) / factor:.2f}", _mean(row, "cpu_s"),
            ]
        )  # fmt: skip
    caption = (
        "Mean ± half the 95 % interval (Student t over n seeds) after the last round; difference: to the first method, "
        "seed by seed. passes: forward passes of a client, a forward and backward counted as three. up, down: a "
        f"client's bytes over the whole run. VRAM: the client that holds most, {found.vram_source or 'unknown'}."
    )
    return table(columns, body, 2, caption, "tab:contest")


def _cell(row: Row, name: str, factor: float, digits: int) -> str:
    mean, half = row[f"{name}_mean"], row[f"{name}_half"]
    if mean is None:
        return "–"
    text = f"{factor * float(mean):.{digits}f}"
    return text if half is None else f"{text} ± {factor * float(half):.{digits}f}"


def _mean(row: Row, name: str) -> str:
    value = row[f"{name}_mean"]
    return "–" if value is None else f"{float(value):,.0f}"


if __name__ == "__main__":
    raise SystemExit(contest_command(__doc__, rows, write))
