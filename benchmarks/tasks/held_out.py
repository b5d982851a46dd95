"""A finished run's test figures before and after training, on the same rows, with the interval of their difference.

A run evaluates few rows as it goes. Here θ is rebuilt from its ledger, and more test rows are asked at θ0 and at that
θ. Rows differ far more from each other than one row does before and after, so that the difference, row by row, has a
much narrower interval than either figure.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from zorba_ray.artifacts import Run
from zorba_ray.config import DECODED
from zorba_ray.experiment import prepare
from zorba_ray.experiment.evaluate import Evaluator
from zorba_ray.experiment.trained import trained
from zorba_ray.metrics import percentiles, resamples
from zorba_ray.models import Evaluation
from zorba_ray.report.measures import interval_of
from zorba_ray.tables import wilson

_STREAM = 2
"""Of the draws behind intervals; the run's own evaluations have 0 and 1."""
Span = tuple[float, float]


@dataclass(frozen=True)
class HeldOut:
    """Figures of the test split before and after; intervals are of 95 %, over rows."""

    rows: int
    loss: Span
    loss_change: Span | None = None
    """Interval of the loss after minus the loss before, row by row; None of a run whose θ is not in its ledger."""
    accuracy: Span | None = None
    accuracy_before: Span | None = None
    """Interval. So `accuracy_after` and `perplexity_after`."""
    accuracy_after: Span | None = None
    perplexity: Span | None = None
    perplexity_after: Span | None = None
    token_f1: Span | None = None
    """Of written answers, as SQuAD counts."""
    token_f1_after: Span | None = None
    chance: float | None = None
    """Accuracy of guessing among each row's own options; None where rows have none."""

    @property
    def perplexity_share(self) -> Span | None:
        """Interval of the perplexity after over the perplexity before, row by row."""
        if self.perplexity is None or self.loss_change is None:
            return None
        return math.exp(self.loss_change[0]), math.exp(self.loss_change[1])


def held_out(path: Path, rows: int | None) -> HeldOut:
    """The figures of a finished run, read from held_out.json in its directory where they are there.

    Args:
        path: the run directory.
        rows: the first test rows; None: all.

    Raises:
        RunDirError, LedgerError: no finished run, or one whose θ is not that of its summary.
    """
    file = path / "held_out.json"
    if not file.exists():
        found = _measure(path, rows)
        file.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return HeldOut(**json.loads(file.read_text(encoding="utf-8"), object_hook=_with_spans))


def _with_spans(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in tree.items()}


def _measure(path: Path, rows: int | None) -> HeldOut:
    run = Run(path)
    config = run.config
    if config.spec.backward or config.row_kind in DECODED:
        return _own_figures(run)
    setup = prepare(config.model_copy(update={"eval": config.eval.model_copy(update={"rows": rows})}))
    kept = trained(str(path), None, None, None)
    before, after = (
        Evaluator(model, "test", setup.test).answers(round)
        for model, round in ((setup.model, 0), (kept.model, kept.round))
    )
    found = figures(before, after, config.seed)
    options = setup.test.options
    if options is None or config.task_kind != "multiple_choice":
        return found
    return replace(found, chance=fmean(1 / len(options.of(row)) for row in range(found.rows)))


def _own_figures(run: Run) -> HeldOut:
    """Of the run's own evaluations: θ is not in its ledger, or answers are written, which takes long."""
    assert run.summary is not None
    before, after = (run.summary.evaluations[name] for name in ("start_test", "test"))
    spans: dict[str, Any] = {}
    for name in ("accuracy", "perplexity", "token_f1"):
        pair = getattr(before, name), getattr(after, name)
        if None not in pair:
            spans |= {name: pair, f"{name}_after": interval_of(after, name)}
    if "accuracy" in spans:
        spans["accuracy_before"] = interval_of(before, "accuracy")
    return HeldOut(after.rows or 0, (before.loss, after.loss), **spans)


def figures(before: Evaluation, after: Evaluation, seed: int) -> HeldOut:
    """Figures of two evaluations of the same rows in the same order."""
    rows, losses = len(after.row_items), np.stack([before.row_losses, after.row_losses, after.row_items])
    sums = np.stack([losses[:, drawn].sum(axis=1) for drawn in resamples(seed, _STREAM, rows)])
    old, new = sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]
    found = HeldOut(rows, (before.loss, after.loss), percentiles(new - old))
    if before.accuracy is None or after.accuracy is None:
        both = (math.exp(before.loss), math.exp(after.loss))
        return replace(found, perplexity=both, perplexity_after=percentiles(np.exp(new)))
    spans = [wilson(share, rows) for share in (before.accuracy, after.accuracy)]
    return replace(found, accuracy=(before.accuracy, after.accuracy), accuracy_before=spans[0], accuracy_after=spans[1])
