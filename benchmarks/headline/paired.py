"""The answers of a finished run to every test row, and intervals of paired differences between two runs.

Where there are fewer than three seeds, no interval over seeds says anything. Rows then stand for what differs: two runs
answer the same rows, and the mean of the differences is taken again over rows drawn with replacement.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zorba_ray.artifacts import Run
from zorba_ray.experiment.build import prepare
from zorba_ray.experiment.evaluate import Evaluator, evaluation_order
from zorba_ray.experiment.trained import trained
from zorba_ray.metrics import percentiles, resamples
from zorba_ray.tables import Spread

_STREAM = 3
"""Of the draws behind intervals; a run's evaluations have 0 and 1, held-out figures 2."""
Span = tuple[float, float]


def row_scores(path: Path) -> np.ndarray:
    """float64 [rows]: 1 for a right answer and 0 for a wrong one; where rows have no labels, minus the mean loss of a
    row's tokens. Kept in test_rows.json of the run directory.

    Raises:
        RunDirError, LedgerError: no finished run, or one whose θ is not that of its summary.
    """
    file = path / "test_rows.json"
    if not file.exists():
        config = Run(path).config
        setup, kept = prepare(config), trained(str(path), None, None, None)
        found = Evaluator(kept.model, "test", setup.test).answers(kept.round)
        scores = -found.row_losses / np.maximum(found.row_items, 1)
        if found.row_labels is not None:
            scores = found.row_labels == setup.test.labels[evaluation_order(setup.test)]
        file.write_text(json.dumps([float(score) for score in scores]), encoding="utf-8")
    return np.array(json.loads(file.read_text(encoding="utf-8")))


def paired(ours: Sequence[Path], theirs: Sequence[Path]) -> tuple[float, Span | None]:
    """Mean of the differences, ours minus theirs, seed by seed, and its 95 % interval: over the seeds where there are
    three or more, else over test rows, each with its mean over the seeds."""
    return interval(np.stack([row_scores(one) - row_scores(other) for one, other in zip(ours, theirs, strict=True)]))


def interval(gaps: np.ndarray) -> tuple[float, Span | None]:
    """As `paired`, of differences [seeds, rows]."""
    mean = float(gaps.mean())
    if len(gaps) > 2:
        half = Spread(tuple(gaps.mean(axis=1).tolist())).half
        return mean, None if half is None else (mean - half, mean + half)
    by_row = gaps.mean(axis=0)
    drawn = np.array([by_row[rows].mean() for rows in resamples(0, _STREAM, len(by_row))])
    return mean, percentiles(drawn)
