"""The question of a comparison, and what is refused before anything runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from zorba_ray.artifacts.campaigns import MethodFit
from zorba_ray.campaigns.comparison.machines import PLACEMENTS
from zorba_ray.config import DEFAULT_METHOD, ExperimentConfig, FleetDistribution, load_method
from zorba_ray.errors import ConfigError

_GIVEN = ("name", "rounds", "eval")
"""Settings of a run that the comparison determines for every method."""
_MOST_RATES = 100


@dataclass(frozen=True)
class ComparisonPlan:
    """The question of a comparison: methods, seeds, rates and base settings."""

    base: ExperimentConfig
    """The configuration of zorba."""
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    rates: Mapping[str, tuple[float, ...]]
    """Method -> learning rates to choose from."""
    tune_share: float
    """Share of a run's rounds in the runs that choose a rate."""
    overrides: Mapping[str, tuple[str, ...]]
    """Method -> settings as key=value, applied last."""
    placements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Method -> of `machines.PLACEMENTS`, those that it may use; others may use all."""
    fits: Mapping[str, MethodFit] = field(default_factory=dict)
    """Method -> the machines that can take part; empty without a fleet, and until it is known."""

    @property
    def passes(self) -> int:
        """Forward passes of each client in a whole run."""
        return self.base.passes_per_round * self.base.rounds


def require_comparable(plan: ComparisonPlan) -> None:
    """Checks a plan.

    Raises:
        ConfigError: names the option or setting.
    """
    base, methods, rates = plan.base, plan.methods, plan.rates
    if not methods:
        raise ConfigError(f"--methods: no method; name one or more, as in --methods {DEFAULT_METHOD}")
    for name in methods:
        try:
            load_method(name)
        except ValueError as error:
            raise ConfigError(f"--methods: {name}: {error}") from error
    twice = sorted({name for name in methods if methods.count(name) > 1})
    if twice:
        raise ConfigError(f"--methods: {', '.join(twice)} stands twice; name each method once")
    if not 0 < plan.tune_share <= 1:
        raise ConfigError(f"--tune-share {plan.tune_share:g}: must be a share of the rounds, above 0 and at most 1")
    if base.method != DEFAULT_METHOD:
        raise ConfigError(
            f"method={base.method}: a comparison starts from a configuration of {DEFAULT_METHOD} and derives those of "
            f"the other methods; set method={DEFAULT_METHOD}, and name {base.method} in --methods"
        )
    if base.federation.changes:
        raise ConfigError("federation.changes: a comparison cannot change clients or budgets during a run; drop it")
    if base.eval.patience is not None:
        raise ConfigError(
            f"eval.patience={base.eval.patience}: in a comparison every method has the same forward passes, and a run "
            "that ends early would have fewer; set eval.patience=null (eval.keep=best is allowed)"
        )
    if base.data.batch_tokens is not None:
        raise ConfigError(
            f"data.batch_tokens={base.data.batch_tokens}: a comparison counts forward passes of data.batch_size rows, "
            "and a batch of long rows would have fewer; set data.batch_tokens=null"
        )
    central = [name for name in methods if load_method(name).central]
    if base.data.partition == "files" and central:
        raise ConfigError(
            f"data.partition=files has a file per client, but {central[0]} has one client with all data; drop "
            f"{central[0]} from --methods"
        )
    unnamed = sorted(({*rates} | {*plan.overrides} | {*plan.placements}) - {*methods})
    if unnamed:
        raise ConfigError(
            f"--rates, --set, --placements: {', '.join(unnamed)} is not in the comparison; --methods names "
            f"{', '.join(methods)}"
        )
    _check_rates(rates)
    _check_fleet(base, plan.placements)
    for method, texts in plan.overrides.items():
        for text in texts:
            if text.split("=")[0].split(".")[0].strip() in _GIVEN:
                raise ConfigError(
                    f"--set {method}:{text}: the comparison determines this setting; set it in the base configuration, "
                    "for all methods"
                )


def _check_rates(rates: Mapping[str, tuple[float, ...]]) -> None:
    for name, values in rates.items():
        if not values or not all(0 < rate < math.inf for rate in values):
            raise ConfigError(f"--rates {name}: one or more positive rates are expected, as in {name}=1e-4,3e-4")
        if len(values) > _MOST_RATES:
            raise ConfigError(f"--rates {name}: {len(values):,} rates; at most {_MOST_RATES} are allowed")
        if len({f"{rate:g}" for rate in values}) < len(values):
            raise ConfigError(f"--rates {name}: two rates are equal in their first six digits; drop one")


def _check_fleet(base: ExperimentConfig, placements: Mapping[str, tuple[str, ...]]) -> None:
    fleet = base.federation.fleet
    if isinstance(fleet, FleetDistribution):
        raise ConfigError(
            "federation.fleet is a distribution, from which every seed would draw other machines; a comparison gives "
            "all methods and seeds the same: list its classes {name, count, vram}, or set federation.fleet=null"
        )
    for method, names in placements.items():
        if fleet is None:
            raise ConfigError(f"--placements {method}: there are no budgets; set federation.fleet, or drop it")
        if load_method(method).allocates:
            raise ConfigError(
                f"--placements {method}: its placements are set by memory.frozen, memory.master and "
                "memory.frozen_format, or auto; set those"
            )
        if wrong := [name for name in names if name not in PLACEMENTS]:
            raise ConfigError(
                f"--placements {method}={','.join(names)}: {wrong[0]!r} is no placement; name some of "
                f"{', '.join(PLACEMENTS)}, with commas between"
            )
