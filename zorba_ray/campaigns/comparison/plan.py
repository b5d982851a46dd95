"""What is asked of a comparison, checked before anything runs."""

import math
from collections.abc import Mapping, Sequence

from zorba_ray.campaigns.comparison.cells import TUNING_SEED, ComparisonPlan, planned_run
from zorba_ray.config import DEFAULT_METHOD, ExperimentConfig, load_method
from zorba_ray.errors import ConfigError

_MOST_SEEDS = 1000
_MOST_RATES = 100
_GIVEN = ("name", "rounds", "eval")
"""Settings of a cell that follow from the comparison, whatever a method says."""


def plan_comparison(
    base: ExperimentConfig,
    methods: Sequence[str],
    seeds: int,
    rates: Mapping[str, tuple[float, ...]],
    tune_share: float,
    overrides: Mapping[str, tuple[str, ...]],
) -> ComparisonPlan:
    """Derives every run, so that none is refused after others have run.

    Raises:
        ConfigError: a method unknown or named twice, no seeds or too many, rates that are none, settings for a method
            that takes no part or that are equal for all, a share outside (0, 1], a configuration of another method than
            zorba or of changing clients, or one that a method cannot be derived from.
    """
    if not methods:
        raise ConfigError(f"--methods: none; name one or more, as in {DEFAULT_METHOD}")
    for name in methods:
        try:
            load_method(name)
        except ValueError as error:
            raise ConfigError(f"--methods: unknown method {name}: {error}") from error
    twice = sorted({name for name in methods if methods.count(name) > 1})
    if twice:
        raise ConfigError(f"--methods: {', '.join(twice)} stands twice; a method is compared once")
    if not 1 <= seeds <= _MOST_SEEDS:
        raise ConfigError(f"--seeds {seeds}: at least one seed, at most {_MOST_SEEDS:,}")
    if not 0 < tune_share <= 1:
        raise ConfigError(f"--tune-share {tune_share:g}: a share of the rounds in (0, 1]")
    if base.method != DEFAULT_METHOD:
        raise ConfigError(
            f"method={base.method}: a comparison starts from {DEFAULT_METHOD}'s configuration, and derives the others "
            "from it"
        )
    if base.federation.changes:
        raise ConfigError("federation.changes: a comparison keeps its clients and their budgets; drop it")
    central = [name for name in methods if load_method(name).central]
    if base.data.partition == "files" and central:
        raise ConfigError(
            f"data.partition=files: a file per client, and central {central[0]} has one client; leave it out"
        )
    strangers = sorted(({*rates} | {*overrides}) - {*methods})
    if strangers:
        raise ConfigError(f"--rates, --set: {', '.join(strangers)} takes no part; --methods names {', '.join(methods)}")
    _check_rates(rates)
    for method, texts in overrides.items():
        for text in texts:
            if text.split("=")[0].split(".")[0].strip() in _GIVEN:
                raise ConfigError(f"--set {method}:{text}: this follows from the comparison; set it for all methods")
    plan = ComparisonPlan(
        base, tuple(methods), tuple(range(base.seed, base.seed + seeds)), dict(rates), tune_share, dict(overrides)
    )
    for method in methods:
        known = rates.get(method, (1e-3,))
        for rate in known:
            for seed in {plan.seeds[0], plan.seeds[-1]}:  # those between are in range with them
                planned_run(plan, method, seed, rate, tuning=False)
            if len(known) > 1 or method not in rates:
                planned_run(plan, method, base.seed + TUNING_SEED, rate, tuning=True)
    return plan


def _check_rates(rates: Mapping[str, tuple[float, ...]]) -> None:
    for name, values in rates.items():
        if not values or not all(0 < rate < math.inf for rate in values):
            raise ConfigError(f"--rates {name}: one or more positive rates, as in {name}=1e-4,3e-4")
        if len(values) > _MOST_RATES:
            raise ConfigError(f"--rates {name}: {len(values):,} rates, at most {_MOST_RATES}")
        if len({f"{rate:g}" for rate in values}) < len(values):
            raise ConfigError(f"--rates {name}: two rates are the same to six digits")
