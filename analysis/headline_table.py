"""One row per group of runs: method, clients, rounds, loss, accuracy, bytes, VRAM, time; for LaTeX and as CSV.

Cells are the mean over the seeds ± the sample standard deviation; the CSV has mean, smallest and largest too.
Accuracy is that of the test split after the last round. VRAM is the fleet's, saved is against every client with every
block active.

    python -m analysis.headline_table runs/a runs/b runs/sweeps/epsilon -o tables/headline
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

import numpy as np

from analysis.collect import Group
from analysis.command import command
from analysis.cost import seconds_of_rounds, vram_saved, vram_source
from analysis.latex import table
from analysis.rows import Cell, Measure, Row, Rows, counted, final_accuracy, final_loss, spread
from analysis.style import unit_of
from zorba_ray.artifacts import Run


def _up(run: Run) -> float | None:
    return run.summary.bytes_up_per_client_round if run.summary else None


def _down(run: Run) -> float | None:
    return run.summary.bytes_down_per_client_round if run.summary else None


MEASURES: dict[str, Measure] = {
    "validation_loss": final_loss,
    "test_accuracy": lambda run: final_accuracy(run, "test"),
    "bytes_up_per_client_round": _up,
    "bytes_down_per_client_round": _down,
    "fleet_vram_bytes": lambda run: run.allocation.f2_bytes,
    "vram_saved": vram_saved,
    "rounds_s": seconds_of_rounds,
}


def rows(groups: Sequence[Group]) -> Rows:
    """One row per group, in the order given."""
    found: list[Row] = []
    for group in groups:
        row: Row = {
            "series": group.label,
            "method": group.settings["method"],
            "clients": group.settings["federation.clients"],
            "rounds": group.settings["rounds"],
            **counted(group),
            "vram_source": vram_source(group.runs),
        }
        for name, measure in MEASURES.items():
            values = [measure(run) for run in group.runs]
            known = [value for value in values if value is not None]
            row.update(spread(name, values))
            row[f"{name}_sd"] = stdev(known) if len(known) == len(values) > 1 else None
        found.append(row)
    return Rows(tuple(found), vram_source(run for group in groups for run in group.runs))


def write(found: Rows, out: Path) -> list[Path]:
    """OUT.tex."""
    factor, unit = unit_of(found.column("fleet_vram_bytes_max"))
    several = len({row["series"] for row in found.rows}) > 1
    columns = ["method", "N", "rounds", "n", "val. loss", "test acc. (%)", "up (B)", "down (B)"]
    columns += [f"VRAM ({unit})", "saved (%)", "time (s)"]
    body = []
    for row in found.rows:
        cells = [str(row["method"]), str(row["clients"]), str(row["rounds"]), str(row["n"])]
        cells += [
            _cell(row, "validation_loss", 1, 3),
            _cell(row, "test_accuracy", 100, 1),
            _cell(row, "bytes_up_per_client_round", 1, 1),
            _cell(row, "bytes_down_per_client_round", 1, 1),
            _cell(row, "fleet_vram_bytes", 1 / factor, 2),
            _cell(row, "vram_saved", 100, 1),
            _cell(row, "rounds_s", 1, 1),
        ]
        body.append([str(row["series"]), *cells] if several else cells)
    caption = (
        "Mean ± sample standard deviation over n seeds, after the last round. up, down: bytes per client and round, "
        "active sets (sent once) left out. VRAM: all clients together, "
        f"{found.vram_source}; saved: against every block active on every client. time: wall time of all rounds of the "
        "simulation."
    )
    text = table(["settings", *columns] if several else columns, body, 2 if several else 1, caption, "tab:headline")
    path = out.with_name(out.name + ".tex")
    path.write_text(text, encoding="utf-8")
    return [path]


def _cell(row: Row, name: str, factor: float, digits: int) -> str:
    """'0.590 ± 0.022'; without ± where all seeds agree or there is one; '–' for unknown."""
    mean, spread_sd = row[f"{name}_mean"], row[f"{name}_sd"]
    if mean is None:
        return "–"
    text = f"{_number(mean) * factor:.{digits}f}"
    return text if not spread_sd else f"{text} ± {_number(spread_sd) * factor:.{digits}f}"


def _number(cell: Cell) -> float:
    return float(np.float64(cell or 0.0))


if __name__ == "__main__":
    raise SystemExit(command(__doc__, rows, write))
