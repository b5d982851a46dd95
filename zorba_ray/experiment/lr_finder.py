"""Finds a learning rate: takes the steps of a few rounds at once, at several rates, always from θ0.

A run has more rounds than these, and the noise of its steps adds up: the best rate for T noisy steps falls with 1/√T
(Ghadimi and Lan, SIAM J. Optim. 23, 2013). So of the rate that lowers the loss most, √(8/T) is suggested. The 8 was
measured on whole runs (docs/log/2026-11-30.md).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError
from zorba_ray.experiment.rounds_at_start import RoundsAtStart, prepared_at_start
from zorba_ray.experiment.scope import with_scope
from zorba_ray.zo.ladder import best_rate, rate_beyond

FULL = 8
"""Rounds of a run up to which the rate with the lowest loss is suggested as it is."""
_FACTOR = 10**0.5
"""Between neighbouring rates."""
_MOST = 14
"""Rates that are tried at most."""
_CHANGE = 1e-4
"""Of the start's loss: a smaller change says nothing."""


@dataclass(frozen=True)
class Step:
    """One rate that was tried."""

    lr: float
    loss: float | None
    """Validation loss after the rounds' steps; None: nothing is left of the model."""
    change: float | None
    """Change of the loss, compared with θ0."""


@dataclass(frozen=True)
class Ladder:
    """The rates that were tried, and their results."""

    steps: tuple[Step, ...]
    """By rate, ascending."""
    start_loss: float
    """Validation loss at θ0."""
    clients: int
    """Asked in a round."""
    passes: int
    """Forward passes of all clients together."""
    rows: int
    """Validation rows behind each loss."""
    rounds: int
    """T, of the run for which a rate is wanted."""

    @property
    def lowest(self) -> float | None:
        """The rate with the lowest loss; None: no rate lowers it."""
        lowering = [step for step in self.steps if step.change is not None and step.change < -_CHANGE * self.start_loss]
        return min(lowering, key=lambda step: (step.change, step.lr)).lr if lowering else None

    @property
    def suggested(self) -> float | None:
        """The rate for a run of T rounds; None: no rate lowers the loss."""
        return None if self.lowest is None else _rounded(self.lowest * min(1.0, (FULL / self.rounds) ** 0.5))


def find_rate(config: ExperimentConfig, rates: Sequence[float] | None = None) -> Ladder:
    """Tries rates from θ0. Nothing is written.

    Args:
        rates: to try. None: from zo.lr up and down, until the best has a worse one on each side; then between them.

    Raises:
        ConfigError: a method whose commits are not scalars, a task that is a reward, or a rate that is not positive.
    """
    if config.task_kind == "reward":
        raise ConfigError(
            "task.kind=reward: lr judges a rate by the loss after the steps of a few rounds. The change of a reward in "
            "so few rounds is mostly noise. Compare rates by whole runs: a sweep over zo.lr with the metric "
            "validation_reward"
        )
    given = sorted(rates or [config.zo.lr])
    if min(given) <= 0 or not math.isfinite(max(given)):
        raise ConfigError(f"--rates {list(given)}: rates must be positive and finite")
    if config.spec.commits not in ("scalars", "mean"):
        raise ConfigError(
            f"method={config.method}: `zorba-ray lr` works only for methods whose clients report scalars, such as "
            "method=zorba"
        )
    config, _ = with_scope(config)
    setup = prepared_at_start(config)
    rounds = RoundsAtStart(setup)
    losses: dict[float, float | None] = {}
    following: float | None = given[0]
    while following is not None:
        after = rounds.after(following)
        losses[following] = None if after is None else after.loss
        if rates:
            following = next((rate for rate in given if rate not in losses), None)
        else:
            following = next_rate(losses, rounds.start.loss)
    steps = [Step(lr, loss, None if loss is None else loss - rounds.start.loss) for lr, loss in sorted(losses.items())]
    return Ladder(
        tuple(steps), rounds.start.loss, rounds.clients, rounds.passes, len(setup.validation.labels), config.rounds
    )


def next_rate(losses: Mapping[float, float | None], start: float) -> float | None:
    """The rate to try next; None: the best is known.

    First comes the nearest rate beyond an end, until the best has a worse one on each side and changes the loss. Then
    the lowest point of the parabola through these three.

    Args:
        losses: rate -> loss, as in `Ladder`.
        start: the loss at θ0.
    """
    rates, best = sorted(losses), best_rate(losses)
    if len(rates) >= _MOST:
        return None
    if all(loss is not None and abs(loss - start) < _CHANGE * start for loss in losses.values()):
        return _rounded(rates[-1] * _FACTOR)
    if len(rates) == 1:
        return _rounded(best * _FACTOR)
    if (beyond := rate_beyond(losses)) is not None:
        return beyond
    at = rates.index(best)
    around = rates[at - 1 : at + 2]
    if around[2] / around[0] < 0.9 * _FACTOR**2:
        return None  # the parabola's rate is among them
    low, middle, high = (losses[rate] for rate in around)
    if low is None or middle is None or high is None:
        return None
    left, right = best - around[0], around[2] - best
    fall, rise = (middle - low) / left, (high - middle) / right
    rate = best if fall == rise else _rounded(best - (rise * left + fall * right) / (2 * (rise - fall)))
    return None if rate in losses else rate


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
