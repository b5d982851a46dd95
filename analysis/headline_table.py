"""One row per group of runs: method, clients, rounds, loss, accuracy, bytes, VRAM, time; for LaTeX and as CSV.

Cells are the mean over the seeds ± the sample standard deviation; the CSV has mean, smallest and largest too.
Accuracy is that of the test split after the last round. VRAM is the fleet's, saved is against every client with every
block active.

    python -m analysis.headline_table runs/a runs/b runs/sweeps/epsilon -o tables/headline
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.command import runs_command
from analysis.groups import Group
from analysis.rows import Row, Rows, counted, spread_columns
from zorba_ray.report.figure import unit_of
from zorba_ray.report.measures import (
    Measure,
    bytes_per_round,
    final_loss,
    fleet_vram,
    seconds_of_rounds,
    test_accuracy,
    vram_saved,
    vram_source,
)
from zorba_ray.tables import Column, Spread, Table

MEASURES: dict[str, Measure] = {
    "validation_loss": final_loss,
    "test_accuracy": test_accuracy,
    "bytes_up_per_client_round": lambda run: bytes_per_round(run, "up"),
    "bytes_down_per_client_round": lambda run: bytes_per_round(run, "down"),
    "fleet_vram_bytes": fleet_vram,
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
            spread = Spread.of_all(values)
            row |= {**spread_columns(name, values), f"{name}_sd": spread and spread.sd}
        found.append(row)
    return Rows(tuple(found), vram_source(run for group in groups for run in group.runs))


def write(found: Rows, out: Path) -> list[Path]:
    """OUT.tex."""
    factor, unit = unit_of(found.column("fleet_vram_bytes_max").max())
    columns: list[Column[Row]] = [
        Column("settings", lambda row: row["series"]),
        Column("method", lambda row: row["method"]),
        Column("N", lambda row: row["clients"], str),
        Column("rounds", lambda row: row["rounds"], str),
        Column("n", lambda row: row["n"], str),
        Column("val. loss", with_sd("validation_loss", 3), str),
        Column("test acc. (%)", with_sd("test_accuracy", 1, 100), str),
        Column("up (B)", with_sd("bytes_up_per_client_round", 1), str),
        Column("down (B)", with_sd("bytes_down_per_client_round", 1), str),
        Column(f"VRAM ({unit})", with_sd("fleet_vram_bytes", 2, 1 / factor), str),
        Column("saved (%)", with_sd("vram_saved", 1, 100), str),
        Column("time (s)", with_sd("rounds_s", 1), str),
    ]
    caption = (
        "Mean ± sample standard deviation over n seeds, after the last round. up, down: bytes per client and round, "
        f"active sets (sent once) left out. VRAM: all clients together, {found.vram_source}; saved: against every "
        "block active on every client. time: wall time of all rounds of the simulation."
    )
    several = len({row["series"] for row in found.rows}) > 1
    path = out.with_name(out.name + ".tex")
    table = Table("", found.rows, columns if several else columns[1:], caption)
    path.write_text(table.latex("tab:headline"), encoding="utf-8")
    return [path]


def with_sd(name: str, digits: int, factor: float = 1.0, spread: str = "sd") -> Callable[[Row], str | None]:
    """'0.590 ± 0.022'; without ± where all seeds agree or there is one; None for unknown."""

    def show(row: Row) -> str | None:
        mean, around = row[f"{name}_mean"], row[f"{name}_{spread}"]
        texts = [f"{float(value) * factor:.{digits}f}" for value in (mean, around) if value]
        return None if mean is None else " ± ".join(texts or [f"{0:.{digits}f}"])

    return show


if __name__ == "__main__":
    raise SystemExit(runs_command(__doc__, rows, write))
