"""The runs of a comparison: one configuration per method and seed, derived from that of zorba.

The same for all methods: examples, partition, model, clients, participants, batch size, evaluation, seeds, and the
forward passes of each client in the whole run. A step with backpropagation counts as three passes, because its backward
pass costs two.

Different for each method: the settings that its authors published (see its file), the schedule of the rate if the
method allows one, and the number of rounds that these passes allow.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.config import DEFAULT_METHOD, ExperimentConfig, MethodSpec, ZOConfig, config_from_tree, load_method
from zorba_ray.config.base import apply_override, parse_override
from zorba_ray.errors import ConfigError
from zorba_ray.federation.round import participant_count

_SHARED = ("name", "seed", "data", "task", "directions", "eval", "tracking")
_FEDERATION = (
    "clients", "participants", "backend", "mode", "workers", "threads", "gpus", "gpu_memory", "deadline_s",
    "quorum", "retries", "snapshot_every",
)  # fmt: skip
_LEAST_ROUNDS = 10
"""Local steps are reduced so that there are at least this many rounds."""
_NO_LORA = {"lora": None}
_GIVEN = ("name", "rounds", "eval")
"""Settings of a run that the comparison determines for every method."""
_MOST_SEEDS = 1000
_MOST_RATES = 100
TUNING_SEED = 1000
"""Added to the seed for runs that choose a rate, so that these use another partition and other batches."""


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

    @property
    def passes(self) -> int:
        """Forward passes of each client in a whole run."""
        return self.base.passes_per_round * self.base.rounds


@dataclass(frozen=True)
class PlannedRun:
    """One run."""

    method: str
    seed: int
    rate: float
    tuning: bool
    """Whether it serves to choose a rate."""
    config: ExperimentConfig

    @property
    def path(self) -> str:
        """Its run directory, relative to the comparison's."""
        return f"{self.method}/rate-{self.rate:g}" if self.tuning else f"{self.method}/seed-{self.seed}"


def plan_comparison(
    base: ExperimentConfig,
    methods: Sequence[str],
    seeds: int,
    rates: Mapping[str, tuple[float, ...]],
    tune_share: float,
    overrides: Mapping[str, tuple[str, ...]],
) -> ComparisonPlan:
    """Derives the settings of every run, so that wrong ones are refused before anything runs.

    Raises:
        ConfigError: a wrong argument, or settings from which the runs cannot be derived; names the option or setting.
    """
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
    if not 1 <= seeds <= _MOST_SEEDS:
        raise ConfigError(f"--seeds {seeds}: must be 1 to {_MOST_SEEDS:,}")
    if not 0 < tune_share <= 1:
        raise ConfigError(f"--tune-share {tune_share:g}: must be a share of the rounds, above 0 and at most 1")
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
    unnamed = sorted(({*rates} | {*overrides}) - {*methods})
    if unnamed:
        raise ConfigError(
            f"--rates, --set: {', '.join(unnamed)} is not in the comparison; --methods names {', '.join(methods)}"
        )
    _check_rates(rates)
    for method, texts in overrides.items():
        for text in texts:
            if text.split("=")[0].split(".")[0].strip() in _GIVEN:
                raise ConfigError(
                    f"--set {method}:{text}: the comparison determines this setting; set it in the base configuration, "
                    "for all methods"
                )
    plan = ComparisonPlan(
        base, tuple(methods), tuple(range(base.seed, base.seed + seeds)), dict(rates), tune_share, dict(overrides)
    )
    for method in methods:
        candidates = rates.get(method, (1e-3,))
        for rate in candidates:
            for seed in {plan.seeds[0], plan.seeds[-1]}:  # if the first and last seed are valid, so are the others
                planned_run(plan, method, seed, rate, tuning=False)
            if len(candidates) > 1 or method not in rates:
                planned_run(plan, method, base.seed + TUNING_SEED, rate, tuning=True)
    return plan


def _check_rates(rates: Mapping[str, tuple[float, ...]]) -> None:
    for name, values in rates.items():
        if not values or not all(0 < rate < math.inf for rate in values):
            raise ConfigError(f"--rates {name}: one or more positive rates are expected, as in {name}=1e-4,3e-4")
        if len(values) > _MOST_RATES:
            raise ConfigError(f"--rates {name}: {len(values):,} rates; at most {_MOST_RATES} are allowed")
        if len({f"{rate:g}" for rate in values}) < len(values):
            raise ConfigError(f"--rates {name}: two rates are equal in their first six digits; drop one")


def ladder_of(plan: ComparisonPlan, method: str, size_of: Callable[[ExperimentConfig], int]) -> tuple[float, ...]:
    """The rates from which a method's rate is chosen: those of `--rates`, else three: c / 3, c and 3 c.

    c is for zorba its configured rate, for backpropagation the published rate, and for other methods zorba's rate times
    √(d_zorba / d) · n / n_zorba. Here n is the number of scalars of a step. (The rate at which a zeroth-order step
    becomes noise falls with √d and grows with n.)

    Args:
        size_of: a configuration -> d, the number of parameters in its scope, over all blocks.
    """
    if method in plan.rates:
        return plan.rates[method]
    if load_method(method).backward:
        centre = load_method(method).Settings.model_fields["lr"].default
    elif method == DEFAULT_METHOD:
        centre = plan.base.zo.lr
    else:
        config = cell_config(plan, method, plan.base.seed, 1e-3, 1.0)
        shrunk = (size_of(plan.base) / size_of(config)) ** 0.5
        centre = plan.base.zo.lr * shrunk * _scalars(config) / _scalars(plan.base)
    return tuple(float(f"{centre * step:.3g}") for step in (1 / 3, 1.0, 3.0))


def _scalars(config: ExperimentConfig) -> int:
    """Number of scalars in a step, of all clients together; with local steps, in one of them."""
    return config.zo.directions * participant_count(config.federation.clients, config.federation.participants)


def planned_run(plan: ComparisonPlan, method: str, seed: int, rate: float, tuning: bool) -> PlannedRun:
    """One run of the comparison.

    A run that serves to choose a rate has fewer rounds, and its rate is larger: the best rate for T noisy steps is
    proportional to 1/√T (Ghadimi and Lan, SIAM J. Optim. 23, 2013, also for zeroth-order steps).
    """
    share = plan.tune_share if tuning else 1.0
    return PlannedRun(method, seed, rate, tuning, cell_config(plan, method, seed, rate / share**0.5, share))


def cell_config(plan: ComparisonPlan, method: str, seed: int, rate: float, share: float) -> ExperimentConfig:
    """The configuration of `method` in this comparison.

    Args:
        share: of the rounds.

    Raises:
        ConfigError: the derived settings or the overrides are refused, or would make the comparison unfair.
    """
    base, tree, kind = plan.base, plan.base.resolved(), load_method(method)
    if method != DEFAULT_METHOD:
        federation = {key: tree["federation"][key] for key in _FEDERATION}
        memory = {key: tree["memory"][key] for key in ("compute_dtype",)}
        tree = {key: tree[key] for key in _SHARED} | {
            "method": method,
            "model": {key: value for key, value in tree["model"].items() if key != "lora"},
            "memory": memory | {"frozen": "device", "master": "device"},
            "federation": federation,
            "zo": {"distribution": base.zo.distribution},
        }
        if not kind.one_rate:
            tree["zo"]["schedule"] = base.zo.schedule
        if kind.central:
            federation |= {"clients": 1, "participants": None}
        steps = tree.setdefault(kind.steps_in, {})
        if kind.backward:
            steps |= {"schedule": base.zo.schedule, "local_steps": _steps(plan, _published_steps(kind), 3)}
        elif _published_steps(kind) > 1:
            steps["local_steps"] = _steps(plan, _published_steps(kind), 2)
    tree["seed"] = seed
    tree["name"] = f"{base.name}-{method}"
    tree.setdefault(kind.steps_in, {})["lr"] = rate
    for text in plan.overrides.get(method, ()):
        parts, value = parse_override(text)
        apply_override(tree, parts, value)
    origin = f"{method} in this comparison"
    derived = config_from_tree(tree, origin)
    _refuse_unequal(plan, derived, method, seed, rate)
    rounds = max(1, int(share * rounds_for(plan, derived)))
    evaluations = max(1, base.rounds // base.eval.every)
    tree["rounds"] = rounds
    tree["eval"] = {**tree["eval"], "every": max(1, round(rounds / evaluations))}
    return config_from_tree(tree, origin)


def _refuse_unequal(plan: ComparisonPlan, derived: ExperimentConfig, method: str, seed: int, rate: float) -> None:
    """Raises ConfigError: overrides change a setting that must be the same for all methods, or that has an option."""
    base = plan.base
    pairs: dict[str, tuple[Any, Any]] = {
        "method": (derived.method, method),
        "seed (--seeds)": (derived.seed, seed),
        "learning rate (--rates)": (getattr(derived, derived.spec.steps_in).lr, rate),
        "model": (derived.model.model_copy(update=_NO_LORA), base.model.model_copy(update=_NO_LORA)),
        "task": (derived.task, base.task),
        "eval": (derived.eval, base.eval),
        "federation.changes": (derived.federation.changes, base.federation.changes),
    }
    if not load_method(method).central:
        pairs["federation.clients"] = (derived.federation.clients, base.federation.clients)
        pairs["federation.participants"] = (derived.federation.participants, base.federation.participants)
    for key in type(base.data).model_fields.keys() - {"batch_size", "label_shift", "label_shift_schedule"}:
        pairs[f"data.{key}"] = (getattr(derived.data, key), getattr(base.data, key))
    changed = sorted(key for key, (now, needed) in pairs.items() if now != needed)
    if changed:
        raise ConfigError(f"--set {method}: {changed[0]} is the same for all methods, or given by its own option")


def _published_steps(kind: type[MethodSpec]) -> int:
    """K as published by the authors."""
    settings = ZOConfig if kind.steps_in == "zo" else kind.Settings
    return kind.published.get(f"{kind.steps_in}.local_steps", settings.model_fields["local_steps"].default)


def _steps(plan: ComparisonPlan, published: int, cost: int) -> int:
    """Number of local steps, of `cost` passes each: as published, or fewer, so that there are _LEAST_ROUNDS rounds."""
    return max(1, min(published, plan.passes // (cost * _LEAST_ROUNDS)))


def rounds_for(plan: ComparisonPlan, config: ExperimentConfig) -> int:
    """Number of rounds that the comparison's forward passes allow."""
    total = plan.passes
    if config.spec.central:  # one client makes the passes of all participants
        total *= participant_count(plan.base.federation.clients, plan.base.federation.participants)
    return max(1, total // config.cost_per_round)


def describe(plan: ComparisonPlan) -> dict[str, Any]:
    """All that decides the results, as JSON values. A resume must not change it."""
    return {
        "settings": plan.base.numbers(),
        "eval": {"rows": plan.base.eval.rows, "every": plan.base.eval.every}
        | ({"keep": "best", "metric": plan.base.eval.metric} if plan.base.eval.keep == "best" else {}),
        "methods": list(plan.methods),
        "seeds": list(plan.seeds),
        "rates": {name: list(values) for name, values in sorted(plan.rates.items())},
        "tune_share": plan.tune_share,
        "overrides": {name: list(values) for name, values in sorted(plan.overrides.items())},
    }
