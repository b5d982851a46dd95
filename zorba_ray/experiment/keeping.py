"""Decides by the validation evaluations which round of a run is kept, and when a run ends early."""

from collections.abc import Sequence

from zorba_ray.artifacts import Eval
from zorba_ray.config import EvalConfig, ExperimentConfig

_LOWER = ("loss", "perplexity")
"""Metrics for which a lower value is better."""


def is_due(config: ExperimentConfig, round: int) -> bool:
    """Whether the validation split is evaluated after `round`."""
    return round % config.eval.every == 0 or round == config.rounds


def decides(settings: EvalConfig) -> bool:
    """Whether the kept round or the end of the run depends on evaluations."""
    return settings.keep == "best" or settings.patience is not None


def best_round(config: ExperimentConfig, evals: Sequence[Eval]) -> int:
    """The round with the best `eval.metric`; of equal ones the first. The start counts as round 0.

    Args:
        evals: of one split, by round. Evaluations that are not due by these settings are ignored, so that a resumed or
            extended run decides as a run without interruption.
    """
    sign = 1.0 if config.eval.metric in _LOWER else -1.0
    values = [(sign * float(value), record.round) for record, value in _values(config, evals)]
    return min(values, default=(0.0, 0))[1]


def ends_early(config: ExperimentConfig, evals: Sequence[Eval]) -> bool:
    """Whether the last `eval.patience` evaluations had no new best metric; `evals` as in `best_round`."""
    patience = config.eval.patience
    if patience is None or not evals:
        return False
    best = best_round(config, evals)
    return sum(record.round > best for record, _ in _values(config, evals)) >= patience


def _values(config: ExperimentConfig, evals: Sequence[Eval]) -> list[tuple[Eval, float]]:
    return [
        (record, value)
        for record in evals
        if is_due(config, record.round) and (value := getattr(record, config.eval.metric)) is not None
    ]
