"""Rows of numbers: what a figure draws is what its CSV holds."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.groups import Group, labels_of
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError
from zorba_ray.report.curves import bytes_at
from zorba_ray.report.measures import Measure, memory_label, passes_at
from zorba_ray.tables import Spread
from zorba_ray.tables.text import text_count

Row = dict[str, str | int | float | None]
At = Callable[[Run, int], float | None]
"""A value of a run after so many rounds."""


@dataclass(frozen=True)
class Rows:
    """What a script draws or prints."""

    rows: tuple[Row, ...]
    """All with the same keys; None is unknown."""
    vram_source: str = ""
    """Goes into every label and caption of VRAM figures."""
    notes: tuple[str, ...] = ()
    """What a reader must know and cannot see, one sentence each."""

    def parts(self, key: str = "series") -> list[tuple[str, "Rows"]]:
        """Rows with equal `key` together, in order of first appearance."""
        names = dict.fromkeys(str(row[key]) for row in self.rows)
        return [(name, self.where([str(row[key]) == name for row in self.rows])) for name in names]

    def column(self, key: str) -> np.ndarray:
        """float64 [rows]; NaN for unknown."""
        return np.array([np.nan if row[key] is None else row[key] for row in self.rows], dtype=np.float64)

    def where(self, keep: Sequence[bool] | np.ndarray) -> "Rows":
        """The rows for which `keep`, bool [rows], holds."""
        return Rows(tuple(row for row, wanted in zip(self.rows, keep, strict=True) if wanted), self.vram_source)

    def known(self, key: str) -> bool:
        """Whether any row has a value there."""
        return any(row[key] is not None for row in self.rows)

    def over_seeds(self) -> str:
        """What lines and bars are: 'mean and min–max over n = 3 seeds', 'n = 2–3', or '1 seed'."""
        counts = sorted({int(row["n"] or 0) for row in self.rows})
        span = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        return "1 seed" if counts == [1] else f"mean and min–max over n = {span} seeds"


def spread_columns(name: str, values: Sequence[float | None]) -> Row:
    """name_mean, name_min and name_max over seeds; all None where a seed's value is unknown."""
    spread = Spread.of_all(values)
    return {
        f"{name}_mean": spread and spread.mean,
        f"{name}_min": spread and spread.low,
        f"{name}_max": spread and spread.high,
    }


def counted(group: Group) -> Row:
    """n and the seeds themselves."""
    return {"n": len(group.runs), "seeds": " ".join(map(str, group.seeds))}


def rows_against(
    groups: Sequence[Group],
    name: str,
    x: Callable[[Group], float | None],
    varied: Sequence[str],
    measures: Mapping[str, Measure],
) -> Rows:
    """Values at the end of runs against one quantity: groups that differ in nothing else make a series.

    Args:
        name: column of x, also used in messages.
        x: the quantity of a group; groups with None are left out.
        varied: dotted settings that go with x, in which the groups of a series may differ.
        measures: column -> value of a run; each gives its mean, minimum and maximum over the seeds.

    Raises:
        RunDirError: fewer than two different x.
    """
    placed = [(value, group) for group in groups if (value := x(group)) is not None]
    values = sorted({value for value, _ in placed})
    if len(values) < 2:
        raise RunDirError(
            f"this figure needs finished runs with at least two values of {name} ({', '.join(varied)}); found: "
            f"{', '.join(f'{value:g}' for value in values) or 'none'}"
        )
    skipped = len(groups) - len(placed)
    notes = (f"{text_count(skipped, 'group')} of runs without {name} left out",) if skipped else ()
    series: dict[str, list[tuple[float, Group]]] = {}
    rest: list[dict[str, Any]] = []
    for value, group in placed:
        others = {key: setting for key, setting in group.settings.items() if key not in varied}
        key = json.dumps(others, sort_keys=True)
        if key not in series:
            rest.append(others)
        series.setdefault(key, []).append((value, group))
    labels = labels_of(rest, [members[0][1].shown for members in series.values()])
    rows: list[Row] = []
    for label, members in zip(labels, series.values(), strict=True):
        for value, group in sorted(members, key=lambda pair: pair[0]):
            row: Row = {"series": label, name: value, **counted(group)}
            for column, measure in measures.items():
                row |= spread_columns(column, [measure(run) for run in group.runs])
            rows.append(row)
    return Rows(tuple(rows), memory_label(*(run for _, group in placed for run in group.runs)), notes)


def curve_rows(groups: Sequence[Group], measures: Mapping[str, At]) -> Rows:
    """One row per group and round that all its seeds evaluated on the validation split.

    Bytes are spread evenly over the rounds.

    Raises:
        RunDirError: no group has two such rounds.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for group in groups:
        rounds = set.intersection(*({record.round for record in run.split("validation")} for run in group.runs))
        if len(rounds) < 2:
            notes.append(f"{group.label}: {len(rounds)} evaluations on the validation split in common, left out")
            continue
        for number in sorted(rounds):
            sent = Spread.of_all(bytes_at(run, number) for run in group.runs)
            row: Row = {"series": group.label, **counted(group), "round": number}
            row |= {
                "bytes_per_client": sent and sent.mean,
                "forward_passes_per_client": passes_at(group.runs[0], number),
            }
            for name, value in measures.items():
                row |= spread_columns(name, [value(run, number) for run in group.runs])
            rows.append(row)
    if not rows:
        raise RunDirError(f"curves need at least two evaluations on the validation split: {'; '.join(notes)}")
    return Rows(tuple(rows), memory_label(*(run for group in groups for run in group.runs)), tuple(notes))


def loss_at(run: Run, number: int) -> float | None:
    """Validation loss."""
    return next(record.loss for record in run.split("validation") if record.round == number)


def accuracy_at(run: Run, number: int) -> float | None:
    """Validation accuracy; None for a language model without labels."""
    return next(record.accuracy for record in run.split("validation") if record.round == number)


def distance_at(run: Run, number: int) -> float | None:
    """‖θ − θ0‖ over the tensors in scope; None where the round was recovered without it."""
    return 0.0 if number == 0 else next((r.distance for r in run.rounds if r.round == number), None)
