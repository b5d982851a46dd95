"""Which learning rates a method is tried with, and which of them it competes with."""

from collections.abc import Iterable

from zorba_ray.config import ExperimentConfig
from zorba_ray.contest.derive import method_config, rate_key, rate_of
from zorba_ray.contest.records import Try
from zorba_ray.contest.settings import ContestSettings

FACTOR = 3.0
"""From one rate of a ladder to the next."""

DEFAULT = {"fedavg": 1e-3, "fedit": 3e-4, "fedmezo": 1e-3, "decomfl": 3e-4, "fedkseed": 1e-5, "mezo": 1e-4}
"""Method -> the middle of its ladder. Rates published for models of 10⁸ to 10⁹ parameters stand still on smaller ones:
those of the zeroth-order methods are for some 10⁷, those of the others are as published."""


def default_rate(base: ExperimentConfig, method: str, settings: ContestSettings) -> float:
    """The configured rate, else the method's default; zorba's is that of its configuration."""
    overrides = settings.overrides.get(method, ())
    configured = method == "zorba" or any(text.partition("=")[0].strip() == rate_key(method) for text in overrides)
    if configured:
        return rate_of(method_config(base, method, 1, budget=settings.budget, overrides=overrides))
    return DEFAULT[method]


def rates_of(base: ExperimentConfig, method: str, settings: ContestSettings) -> tuple[float, ...]:
    """The rates that are tried, ascending; a single one where there is no tuning."""
    if method in settings.rates:
        return settings.rates[method]
    middle = default_rate(base, method, settings)
    if not settings.tuning:
        return (middle,)
    count = settings.tries
    steps = range(-(count // 2), count - count // 2)
    return tuple(float(f"{middle * FACTOR**step:.3g}") if step else middle for step in steps)


def chosen(tries: Iterable[Try]) -> float | None:
    """The rate with the smallest final validation loss, of equal ones the smallest; None where no run has one."""
    known = [(one.loss, one.rate) for one in tries if one.status == "finished" and one.loss is not None]
    return min(known)[1] if known else None
