"""Which round of a run is kept, and when a run ends early: by its validation evaluations alone."""

from collections.abc import Sequence

from zorba_ray.artifacts import Eval
from zorba_ray.config import EvalConfig, ExperimentConfig

_LOWER = ("loss", "perplexity")
"""Metrics of which less is better."""


def is_due(config: ExperimentConfig, round: int) -> bool:
    """Whether the validation split is evaluated after `round`."""
    return round % config.eval.every == 0 or round == config.rounds


def decides(settings: EvalConfig) -> bool:
    """Whether anything depends on what the evaluations say."""
    return settings.keep == "best" or settings.patience is not None


def best_round(config: ExperimentConfig, evals: Sequence[Eval]) -> int:
    """The round with the best `eval.metric`, of equal ones the first. The start, which is round 0, counts too.

    Args:
        evals: of one split, by round. Those that these settings would not make are passed over, so that a run that was
            taken up again, or given more rounds, decides as a run in one go.
    """
    sign = 1.0 if config.eval.metric in _LOWER else -1.0
    known = [(sign * float(value), record.round) for record, value in _values(config, evals)]
    return min(known, default=(0.0, 0))[1]


def ends_early(config: ExperimentConfig, evals: Sequence[Eval]) -> bool:
    """Whether the last `eval.patience` evaluations were no better than the best before; `evals` as of `best_round`."""
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
