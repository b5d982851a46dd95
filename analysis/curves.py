"""Values at every evaluation of every group: what the curve figures draw."""

from collections.abc import Callable, Mapping, Sequence

from analysis.collect import Group
from analysis.cost import bytes_by_round, forward_passes_per_round, vram_source
from analysis.rows import Row, Rows, counted, spread
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError

At = Callable[[Run, int], float | None]
"""A value of a run after so many rounds."""


def curve_rows(groups: Sequence[Group], measures: Mapping[str, At]) -> Rows:
    """One row per group and round that all its seeds evaluated on the validation split; the costs are means over seeds.

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
        traffic = [bytes_by_round(run) for run in group.runs]
        if None in traffic:
            notes.append(f"{group.label}: a round was recovered after a kill without its byte counts; no bytes shown")
        passes = sum(forward_passes_per_round(run) for run in group.runs) / len(group.runs)
        for number in sorted(rounds):
            sent = [None if counts is None else counts[number] for counts in traffic]
            row: Row = {
                "series": group.label,
                **counted(group),
                "round": number,
                "bytes_per_client": spread("bytes", sent)["bytes_mean"],
                "forward_passes_per_client": number * passes,
            }
            for name, value in measures.items():
                row.update(spread(name, [value(run, number) for run in group.runs]))
            rows.append(row)
    if not rows:
        raise RunDirError(f"curves need at least two evaluations on the validation split: {'; '.join(notes)}")
    return Rows(tuple(rows), vram_source(run for group in groups for run in group.runs), tuple(notes))


def loss_at(run: Run, number: int) -> float | None:
    """Validation loss."""
    return next(record.loss for record in run.split("validation") if record.round == number)


def accuracy_at(run: Run, number: int) -> float | None:
    """Validation accuracy; None for a language model without labels."""
    return next(record.accuracy for record in run.split("validation") if record.round == number)


def distance_at(run: Run, number: int) -> float | None:
    """‖θ − θ0‖ over the tensors in scope; None where the round was recovered without it."""
    if number == 0:
        return 0.0
    return next((record.distance for record in run.rounds if record.round == number), None)
