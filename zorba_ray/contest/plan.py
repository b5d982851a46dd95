"""A comparison before it runs: what every method is given, which runs there are, and each run's configuration."""

from dataclasses import dataclass

from zorba_ray.config import ExperimentConfig, FleetDistribution
from zorba_ray.config.baselines import FIRST_ORDER
from zorba_ray.contest.derive import asked, budget_of, is_central, method_config, passes_per_round
from zorba_ray.contest.rates import rates_of
from zorba_ray.contest.records import Cell, Contest, Contestant, Try
from zorba_ray.contest.settings import TUNING_SEED, ContestSettings, require_zorbas


@dataclass(frozen=True)
class Plan:
    """Makes the configurations of a comparison's runs."""

    base: ExperimentConfig
    settings: ContestSettings

    def compared(self, method: str, seed: int, rate: float | None) -> ExperimentConfig:
        """The run of a compared cell."""
        own = self.settings.overrides.get(method, ())
        return method_config(self.base, method, seed, rate, self.settings.budget, own)

    def tried(self, method: str, rate: float) -> ExperimentConfig:
        """The shortened run that a learning rate is tried in, on a seed that is never compared."""
        settings = self.settings
        own, share = settings.overrides.get(method, ()), settings.tuning_share
        config = method_config(self.base, method, TUNING_SEED, rate, settings.budget, own, share)
        # Rates are judged by the end alone.
        name, every = f"{self.base.name}-{method}-rate-{rate:g}", config.rounds
        return config.model_copy(
            update={"name": name, "eval": config.eval.model_copy(update={"every": every})},
        )

    def contestant(self, method: str) -> Contestant:
        """What a method is given.

        Raises:
            ConfigError: its settings are refused, or its budget holds no round.
        """
        settings = self.settings
        config = self.compared(method, 1, None)
        each, budget = passes_per_round(config), budget_of(self.base, method, settings.budget)
        rates = rates_of(self.base, method, settings)
        tries = [
            Try(rate=rate, run=f"{method}/rate-{rate:g}", rounds=self.tried(method, rate).rounds)
            for rate in (rates if settings.tuning else ())
        ]
        return Contestant(
            method=method,
            passes_per_round=each,
            budget=budget,
            rounds=config.rounds,
            left_over=budget - each * config.rounds,
            every=config.eval.every,
            central=is_central(method),
            backward=method in FIRST_ORDER,
            rates=rates,
            rate=None if settings.tuning else rates[0],
            tries=tries,
            settings=_differences(self.base, config),
        )


def plan_contest(base: ExperimentConfig, settings: ContestSettings, command: list[str], started: str) -> Contest:
    """The whole comparison, nothing run.

    Raises:
        ConfigError: `base` is not zorba's, or a method's settings are refused.
    """
    require_zorbas(base)
    plan = Plan(base, settings)
    # Seed by seed, so that an interrupted comparison compares what it has.
    cells = [
        Cell(method=method, seed=seed, run=f"{method}/seed-{seed}")
        for seed in range(1, settings.seeds + 1)
        for method in settings.methods
    ]
    return Contest(
        name=base.name,
        command=command,
        started=started,
        settings=settings.model_dump(mode="json"),
        base=base.resolved(),
        tuning_seed=TUNING_SEED,
        participants=asked(base),
        largest_budget_bytes=_largest_budget(base),
        contestants=[plan.contestant(method) for method in settings.methods],
        cells=cells,
    )


def _largest_budget(base: ExperimentConfig) -> int | None:
    fleet = base.federation.fleet
    if fleet is None:
        return None
    return fleet.high if isinstance(fleet, FleetDistribution) else max(kind.vram for kind in fleet)


def _differences(base: ExperimentConfig, config: ExperimentConfig) -> dict[str, object]:
    before, after = base.numbers(), config.numbers()
    return {key: value for key, value in after.items() if key not in ("seed", "method") and before.get(key) != value}
