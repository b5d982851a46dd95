"""Rows of numbers: what a figure draws is what its CSV holds."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from analysis.collect import Group
from zorba_ray.artifacts import Run

Cell = str | int | float | None
Row = dict[str, Cell]
Measure = Callable[[Run], float | None]


@dataclass(frozen=True)
class Rows:
    """What a script draws or prints."""

    rows: tuple[Row, ...]
    """All with the same keys; None is unknown."""
    vram_source: str
    """Goes into every label and caption of VRAM figures."""
    notes: tuple[str, ...] = ()
    """What a reader must know and cannot see, one sentence each."""

    def parts(self, key: str = "series") -> list[tuple[str, "Rows"]]:
        """Rows with equal `key` together, in order of first appearance."""
        names = dict.fromkeys(str(row[key]) for row in self.rows)
        return [
            (name, Rows(tuple(row for row in self.rows if str(row[key]) == name), self.vram_source)) for name in names
        ]

    def column(self, key: str) -> np.ndarray:
        """float64 [rows]; NaN for unknown."""
        return np.array([np.nan if row[key] is None else row[key] for row in self.rows], dtype=np.float64)

    def where(self, keep: np.ndarray) -> "Rows":
        """The rows for which `keep`, bool [rows], holds."""
        return Rows(tuple(row for row, wanted in zip(self.rows, keep, strict=True) if wanted), self.vram_source)

    def known(self, key: str) -> bool:
        """Whether any row has a value there."""
        return any(row[key] is not None for row in self.rows)

    def over_seeds(self) -> str:
        """What lines and bars are: 'mean and min–max over n = 3 seeds', 'n = 2–3', or '1 seed'."""
        counts = sorted({int(row["n"] or 0) for row in self.rows})
        if counts == [1]:
            return "1 seed"
        span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
        return f"mean and min–max over n = {span} seeds"


def spread(name: str, values: Iterable[float | None]) -> Row:
    """name_mean, name_min and name_max over seeds; all None where a seed's value is unknown."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    if not numbers or len(numbers) < len(known):
        return {f"{name}_mean": None, f"{name}_min": None, f"{name}_max": None}
    return {f"{name}_mean": fmean(numbers), f"{name}_min": min(numbers), f"{name}_max": max(numbers)}


def counted(group: Group) -> Row:
    """n and the seeds themselves."""
    return {"n": len(group.runs), "seeds": " ".join(map(str, group.seeds))}


def final_loss(run: Run) -> float | None:
    """Validation loss after the last round."""
    records = [record for record in run.split("validation") if record.round == run.config.rounds]
    return records[0].loss if records else None


def final_accuracy(run: Run, split: str = "validation") -> float | None:
    """Accuracy after the last round."""
    records = [record for record in run.split(split) if record.round == run.config.rounds]
    return records[0].accuracy if records else None


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All rows, floats with all their digits; unknown is empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
