"""A comparison of methods, read from its folder: every figure with its mean and 95 % interval over the seeds."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from zorba_ray.errors import RunDirError
from zorba_ray.report.interval import Interval
from zorba_ray.report.load import RunRecord, load_run, read_json
from zorba_ray.report.records import Eval, Record, parse

CONTEST_FILE = "compare.json"

_LEVELS = (0.25, 0.5, 0.75)
"""Losses to reach: these shares of the way from the start to the first method's mean final loss."""


class CellEntry(Record):
    """A run as compare.json knows it."""

    method: str
    seed: int
    rate: float
    tuning: bool
    status: str
    error: str | None = None
    round: int | None = None
    """Rounds done, of a run that diverged or failed."""


class ContestEntry(Record):
    """compare.json."""

    name: str
    command: tuple[str, ...] = ()
    asked: dict[str, Any]
    passes: int
    """Forward passes of each client in all."""
    chosen: dict[str, float] = Field(default_factory=dict)
    tried: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    cells: dict[str, CellEntry] = Field(default_factory=dict)

    def is_chosen(self, method: str, rate: str) -> bool:
        """Whether a tried rate, as `tried` spells it, is the one that the method's runs have."""
        return method in self.chosen and f"{self.chosen[method]:g}" == rate

    def end_of_ladder(self, method: str) -> str | None:
        """'lowest' or 'highest' where the chosen rate is that of those tried; None elsewhere, or with one tried."""
        ladder = sorted(self.tried.get(method, {}), key=float)
        if len(ladder) < 2:
            return None
        ends = (("lowest", ladder[0]), ("highest", ladder[-1]))
        return next((end for end, rate in ends if self.is_chosen(method, rate)), None)


@dataclass(frozen=True)
class Standing:
    """One method: its finished runs, seed by seed, and those that were not."""

    method: str
    rate: float | None
    runs: dict[int, RunRecord]
    """Seed -> finished run."""
    others: tuple[CellEntry, ...]
    """Runs that diverged, failed or are under way; in no mean."""

    @property
    def lost(self) -> tuple[CellEntry, ...]:
        """Seeds that came to nothing."""
        return tuple(own for own in self.others if own.status in ("diverged", "failed"))

    def over(self, value: Callable[[RunRecord], float | None]) -> Interval | None:
        """Of the runs that have the value."""
        found = (value(run) for run in self.runs.values())
        return Interval.of([one for one in found if one is not None])


@dataclass(frozen=True)
class ContestRecord:
    """All of a comparison."""

    path: Path
    entry: ContestEntry
    standings: tuple[Standing, ...]

    @property
    def levels(self) -> tuple[float, ...]:
        """Validation losses to reach; none while the first method has no finished run."""
        first = self.standings[0]
        start, end = first.over(start_loss), first.over(final_loss)
        if start is None or end is None or not end.mean < start.mean:
            return ()
        return tuple(start.mean + share * (end.mean - start.mean) for share in _LEVELS)

    def missing(self, standing: Standing) -> tuple[int, ...]:
        """Seeds whose run has not begun, or is under way for the first time."""
        begun = {*standing.runs, *(own.seed for own in standing.others)}
        return tuple(seed for seed in self.entry.asked["seeds"] if seed not in begun)

    def difference(self, standing: Standing) -> Interval | None:
        """Final validation loss less the first method's, seed by seed; positive where the first is better."""
        first = self.standings[0]
        pairs = [(standing.runs[seed], first.runs[seed]) for seed in standing.runs if seed in first.runs]
        found = [(final_loss(one), final_loss(other)) for one, other in pairs]
        return Interval.of([one - other for one, other in found if one is not None and other is not None])


def is_contest(path: str | Path) -> bool:
    """Whether a folder holds a comparison."""
    return (Path(path) / CONTEST_FILE).is_file()


def load_contest(path: str | Path) -> ContestRecord:
    """Reads a comparison, finished or not.

    Raises:
        RunDirError: a file is missing or damaged; names it.
    """
    path = Path(path)
    file = path / CONTEST_FILE
    entry = parse(ContestEntry, read_json(file, "comparison"), str(file))
    standings = []
    for method in entry.asked["methods"]:
        own = {name: cell for name, cell in entry.cells.items() if cell.method == method and not cell.tuning}
        runs = {cell.seed: _run_of(path / name, cell) for name, cell in own.items() if cell.status == "finished"}
        rest = tuple(cell for cell in own.values() if cell.status != "finished")
        standings.append(Standing(method, entry.chosen.get(method), dict(sorted(runs.items())), rest))
    return ContestRecord(path, entry, tuple(standings))


def _run_of(path: Path, cell: CellEntry) -> RunRecord:
    run = load_run(path)
    if (run.config.method, run.config.seed) != (cell.method, cell.seed):
        raise RunDirError(
            f"{path} holds a run of {run.config.method}, seed {run.config.seed}, where the comparison had "
            f"{cell.method}, seed {cell.seed}: put its own back, or remove it and go on with --resume"
        )
    return run


def curve(run: RunRecord) -> list[Eval]:
    """Evaluations on the validation split, by round."""
    return list(run.split("validation"))


def start_loss(run: RunRecord) -> float | None:
    found = curve(run)
    return found[0].loss if found else None


def final_loss(run: RunRecord) -> float | None:
    found = curve(run)
    return found[-1].loss if found else None


def best_loss(run: RunRecord) -> float | None:
    return min((one.loss for one in curve(run)), default=None)


def final_accuracy(run: RunRecord) -> float | None:
    found = curve(run)
    return found[-1].accuracy if found else None


def best_accuracy(run: RunRecord) -> float | None:
    return max((one.accuracy for one in curve(run) if one.accuracy is not None), default=None)


def test_loss(run: RunRecord) -> float | None:
    found = run.split("test")
    return found[-1].loss if found and found[-1].round else None


def test_accuracy(run: RunRecord) -> float | None:
    found = run.split("test")
    return found[-1].accuracy if found and found[-1].round else None


def passes_at(run: RunRecord, round: int) -> int:
    """Forward passes after a round, of a client that takes part in every one; a backward pass counts as two. All probes
    of blocks count from round 1 on, as if they came before it."""
    return run.config.cost_per_round * round + (probe_passes(run) if round else 0)


def probe_passes(run: RunRecord) -> int:
    """Forward passes of probes, a mean over the clients."""
    return round(2 * run.summary.probe_forward_pairs / run.config.federation.clients) if run.summary else 0


def rounds_to(run: RunRecord, level: float) -> float | None:
    """The first evaluated round with a validation loss at or below `level`; None: never."""
    return next((float(one.round) for one in curve(run) if one.loss <= level), None)


def passes_to(run: RunRecord, level: float) -> float | None:
    """Forward passes of a client by then."""
    found = rounds_to(run, level)
    return None if found is None else float(passes_at(run, int(found)))


def bytes_up(run: RunRecord) -> float | None:
    """Of a client that takes part in every round, in all and in probes; None of a central method."""
    summary = run.summary
    if summary is None or summary.bytes_up_per_client_round is None or run.config.spec.central:
        return None
    return summary.bytes_up_per_client_round * run.rounds_done + summary.probe_bytes_up / run.config.federation.clients


def bytes_down(run: RunRecord) -> float | None:
    """Of a client that takes part in every round, in all and in probes; None of a central method."""
    summary = run.summary
    if summary is None or summary.bytes_down_per_client_round is None or run.config.spec.central:
        return None
    own = summary.probe_bytes_down / run.config.federation.clients
    return summary.bytes_down_per_client_round * run.rounds_done + own


def vram(run: RunRecord) -> float | None:
    """Largest bytes of a client, of the allocation's source."""
    return float(max(client.bytes for client in run.allocation.clients))


def cpu_seconds(run: RunRecord) -> float | None:
    """None of a run that was taken up again: its summary has those of the last session."""
    return run.summary.cpu_s if run.summary and not run.summary.resumed_after_round else None


FIGURES: dict[str, Callable[[RunRecord], float | None]] = {
    "final_loss": final_loss,
    "best_loss": best_loss,
    "final_accuracy": final_accuracy,
    "best_accuracy": best_accuracy,
    "test_loss": test_loss,
    "test_accuracy": test_accuracy,
    "bytes_up": bytes_up,
    "bytes_down": bytes_down,
    "vram_bytes": vram,
    "cpu_s": cpu_seconds,
}
"""Name -> what a run says; in means over seeds."""


def rows(record: ContestRecord) -> list[dict[str, Any]]:
    """One row per method, JSON-ready: each figure with `_mean` and `_half`, and `n`, the runs behind it."""
    found = []
    for standing in record.standings:
        row: dict[str, Any] = {
            "method": standing.method,
            "rate": standing.rate,
            "seeds": list(standing.runs),
            "diverged": [{"seed": own.seed, "round": own.round} for own in standing.others if own.status == "diverged"],
            "failed": [own.seed for own in standing.others if own.status == "failed"],
            "rounds": next((run.config.rounds for run in standing.runs.values()), None),
        }
        for name, value in FIGURES.items():
            row |= _columns(name, standing.over(value))
        row |= _columns("behind_first", record.difference(standing))
        for place, level in enumerate(record.levels, start=1):
            row[f"level_{place}"] = level
            for name, reach in (("rounds", rounds_to), ("passes", passes_to)):
                got = [reach(run, level) for run in standing.runs.values()] + [None] * len(standing.lost)
                row[f"{name}_to_level_{place}"] = _mean_if_all(got)
                row[f"reached_level_{place}"] = sum(one is not None for one in got)
        found.append(row)
    return found


def write_csv(record: ContestRecord, path: Path) -> Path:
    """`rows` as a table, and every tried rate below it in a second file beside: NAME-rates.csv."""
    table = rows(record)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in table for key in row)))
        writer.writeheader()
        writer.writerows(table)
    with path.with_name(f"{path.stem}-rates.csv").open("w", newline="", encoding="utf-8") as file:
        rates = csv.writer(file)
        rates.writerow(["method", "rate", "final_loss", "chosen"])
        for method, tried in record.entry.tried.items():
            for rate, loss in tried.items():
                rates.writerow([method, rate, loss, record.entry.is_chosen(method, rate)])
    return path


def _columns(name: str, interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {f"{name}_mean": None, f"{name}_half": None}
    return {f"{name}_mean": interval.mean, f"{name}_half": interval.half}


def _mean_if_all(values: Sequence[float | None]) -> float | None:
    """None where one of them is: a mean over those that got there would flatter."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
