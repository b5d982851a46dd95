"""Reads a comparison of methods from its folder: every figure with its mean and 95 % interval over the seeds."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from zorba_ray.artifacts import Run, read_record
from zorba_ray.artifacts.campaigns import Comparison, ComparisonCell, MethodFit
from zorba_ray.config import load_method
from zorba_ray.errors import RunDirError
from zorba_ray.report.measures import FIGURES, Measure, final_loss
from zorba_ray.tables import Spread


@dataclass(frozen=True)
class MethodResult:
    """One method: its finished runs by seed, and its other runs."""

    method: str
    rate: float | None
    runs: dict[int, Run]
    """Seed -> finished run."""
    others: tuple[ComparisonCell, ...]
    """Runs that diverged, failed or are not finished; they are in no mean."""
    fit: MethodFit | None = None
    """Which machines can take part; None: the fleet has no budgets."""

    @property
    def lost(self) -> tuple[ComparisonCell, ...]:
        """Runs that diverged or failed."""
        return tuple(cell for cell in self.others if cell.status in ("diverged", "failed"))

    @property
    def first_run(self) -> Run | None:
        """The first finished run, for figures that all runs of the method share; None: no run is finished."""
        return next(iter(self.runs.values()), None)

    @property
    def held(self) -> list[tuple[int, int | None]]:
        """(bytes, budget) of each client that takes part. Of a method that allocates they are those of its first
        run."""
        run, fit = self.first_run, self.fit
        if run is not None and (fit is None or run.config.spec.allocates):
            return [(client.bytes, client.budget_bytes) for client in run.allocation.present]
        return [
            (machine.placement.bytes, machine.budget_bytes)
            for machine in (fit.machines if fit else ()) if not machine.missing_bytes for _ in machine.clients
        ]  # fmt: skip

    @property
    def fitting(self) -> int | None:
        """Number of clients whose machine can take part; None without budgets."""
        return None if self.fit is None else self.fit.clients - len(self.fit.left_out)

    @property
    def step_seconds(self) -> float | None:
        """Modelled time of a step of the slowest client that takes part; None if it is not known."""
        machines = self.fit.machines if self.fit else ()
        return max((machine.placement.seconds for machine in machines if not machine.missing_bytes), default=None)

    def over(self, measure: Measure) -> Spread | None:
        """The spread of a figure over the finished runs that have it."""
        return Spread.of(measure(run) for run in self.runs.values())


@dataclass(frozen=True)
class ComparisonRecord:
    """A comparison with the results of its methods."""

    path: Path
    entry: Comparison
    results: tuple[MethodResult, ...]

    def missing(self, result: MethodResult) -> tuple[int, ...]:
        """Seeds whose run has no result yet."""
        if result.fitting == 0 and not load_method(result.method).central:
            return ()  # nobody can run it
        begun = {*result.runs, *(cell.seed for cell in result.others)}
        return tuple(seed for seed in self.entry.asked["seeds"] if seed not in begun)

    def difference(self, result: MethodResult) -> Spread | None:
        """Final validation loss minus that of the first method, for each seed; positive if the first is better."""
        first = self.results[0].runs
        pairs = [(final_loss(run), final_loss(first[seed])) for seed, run in result.runs.items() if seed in first]
        return Spread.of(loss - of_first for loss, of_first in pairs if loss is not None and of_first is not None)


def is_comparison(path: str | Path) -> bool:
    """Whether a folder is that of a comparison."""
    return (Path(path) / Comparison.FILE).is_file()


def load_comparison(path: str | Path) -> ComparisonRecord:
    """Reads a comparison, finished or not.

    Raises:
        RunDirError: a file is missing or damaged, or a folder has another run; names it.
    """
    path = Path(path)
    entry = read_record(path / Comparison.FILE, Comparison, "comparison", printable=True)
    results = []
    for method in entry.asked["methods"]:
        cells = {name: cell for name, cell in entry.cells.items() if cell.method == method and not cell.tuning}
        runs = {cell.seed: _run_of(path / name, cell) for name, cell in cells.items() if cell.status == "finished"}
        others = tuple(cell for cell in cells.values() if cell.status != "finished")
        fit = entry.fits.get(method)
        results.append(MethodResult(method, entry.chosen.get(method), dict(sorted(runs.items())), others, fit))
    return ComparisonRecord(path, entry, tuple(results))


def _run_of(path: Path, cell: ComparisonCell) -> Run:
    run = Run(path)
    if (run.config.method, run.config.seed) != (cell.method, cell.seed):
        raise RunDirError(
            f"{path} has a run of {run.config.method}, seed {run.config.seed}, and should have one of {cell.method}, "
            f"seed {cell.seed}: restore that run, or remove the folder and go on with --resume"
        )
    return run


def comparison_rows(record: ComparisonRecord) -> list[dict[str, Any]]:
    """One row per method, as JSON values. Each figure has `_mean`, and `_half`, half of its 95 % interval."""
    rows = []
    for result in record.results:
        row: dict[str, Any] = {
            "method": result.method,
            "rate": result.rate,
            "seeds": list(result.runs),
            "diverged": [
                {"seed": cell.seed, "round": cell.round} for cell in result.others if cell.status == "diverged"
            ],
            "failed": [cell.seed for cell in result.others if cell.status == "failed"],
            "rounds": result.first_run and result.first_run.config.rounds,
        }
        spreads = {name: result.over(measure) for name, measure in FIGURES.items()}
        held = [held for held, _ in result.held]
        shares = [held / budget for held, budget in result.held if budget]
        row |= {
            "clients_that_fit": result.fitting,
            "clients": result.fit and result.fit.clients,
            "vram_mean_bytes": fmean(held) if held else None,
            "budget_share": max(shares, default=None),
            "step_seconds_modelled": result.step_seconds,
            "placements": result.fit and {machine.kind: machine.placement.text for machine in result.fit.machines},
            "missing_bytes": result.fit and {machine.kind: machine.missing_bytes for machine in result.fit.machines},
        }
        if result.fit is not None:
            spreads["vram_bytes"] = Spread.of([max(held, default=None)])
        for name, spread in {**spreads, "behind_first": record.difference(result)}.items():
            row |= {f"{name}_mean": spread and spread.mean, f"{name}_half": spread and spread.half}
        rows.append(row)
    return rows


def write_comparison_csv(record: ComparisonRecord, path: Path) -> Path:
    """Writes `comparison_rows` as CSV."""
    write_csv(comparison_rows(record), path)
    return path


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes rows as CSV: floats with all their digits; unknown values are empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
