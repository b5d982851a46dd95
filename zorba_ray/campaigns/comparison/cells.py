"""The runs of a comparison: one configuration per method and seed, derived from that of zorba.

The same for all methods: examples, partition, model, clients, participants, batch size, evaluation, seeds, and the
forward passes of each client in the whole run. A step with backpropagation counts as three passes, because its backward
pass costs two.

Different for each method: the settings that its authors published (see its file), the schedule of the rate if the
method allows one, and the number of rounds that these passes allow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.campaigns.comparison.machines import without
from zorba_ray.campaigns.comparison.plan import ComparisonPlan, require_comparable
from zorba_ray.config import DEFAULT_METHOD, ExperimentConfig, MethodSpec, ZOConfig, config_from_tree, load_method
from zorba_ray.config.aggregation import participant_count
from zorba_ray.config.base import apply_override, parse_override
from zorba_ray.errors import ConfigError

_SHARED = ("name", "seed", "data", "task", "directions", "privacy", "eval", "tracking")
_FEDERATION = (
    "clients", "participants", "spares", "backend", "mode", "workers", "threads", "gpus", "gpu_memory", "deadline_s",
    "quorum", "patience", "retries", "snapshot_every",
)  # fmt: skip
_MOST_SEEDS = 1000
_LEAST_ROUNDS = 10
"""Local steps are reduced so that there are at least this many rounds."""
_NO_LORA = {"lora": None}
TUNING_SEED = 1000
"""Added to the seed for runs that choose a rate, so that these use another partition and other batches."""


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
    placements: Mapping[str, tuple[str, ...]] | None = None,
) -> ComparisonPlan:
    """Derives the settings of every run, so that wrong ones are refused before anything runs.

    Raises:
        ConfigError: a wrong argument, or settings from which the runs cannot be derived; names the option or setting.
    """
    if not 1 <= seeds <= _MOST_SEEDS:
        raise ConfigError(f"--seeds {seeds}: must be 1 to {_MOST_SEEDS:,}")
    plan = ComparisonPlan(
        base, tuple(methods), tuple(range(base.seed, base.seed + seeds)), dict(rates), tune_share, dict(overrides),
        dict(placements or {}),
    )  # fmt: skip
    require_comparable(plan)
    for method in methods:
        candidates = rates.get(method, (1e-3,))
        for rate in candidates:
            for seed in {plan.seeds[0], plan.seeds[-1]}:  # if the first and last seed are valid, so are the others
                planned_run(plan, method, seed, rate, tuning=False)
            if len(candidates) > 1 or method not in rates:
                planned_run(plan, method, base.seed + TUNING_SEED, rate, tuning=True)
    return plan


def ladder_of(plan: ComparisonPlan, method: str, size_of: Callable[[ExperimentConfig], int]) -> tuple[float, ...]:
    """The rates from which a method's rate is chosen: those of `--rates`, else three: c / 3, c and 3 c.
    Where the best of them is at an end, up to two more are tried.

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
    base, tree, kind, fit = plan.base, plan.base.resolved(), load_method(method), plan.fits.get(method)
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
        if base.federation.fleet is not None and kind.adapters:
            tree["memory"]["stem_format"] = base.memory.stem_format
        if base.federation.fleet is not None and kind.allocates:
            tree |= {"memory": base.resolved()["memory"], "allocation": base.resolved()["allocation"]}
            federation["fleet"] = base.resolved()["federation"]["fleet"]
        if not kind.one_rate:
            tree["zo"]["schedule"] = base.zo.schedule
        if kind.scalar_reports and not kind.central:
            federation |= {key: base.resolved()["federation"][key] for key in ("aggregate", "spread", "byzantine")}
        if not kind.central:
            tree["adversaries"] = base.resolved()["adversaries"]
        if kind.central:
            federation |= {"clients": 1, "participants": None, "spares": 0}
        steps = tree.setdefault(kind.steps_in, {})
        if kind.backward:
            steps |= {"schedule": base.zo.schedule, "local_steps": _steps(plan, kind, 3)}
        elif _published_steps(kind) > 1:
            steps["local_steps"] = _steps(plan, kind, 2)
    tree["seed"] = seed
    tree["name"] = f"{base.name}-{method}"
    tree.setdefault(kind.steps_in, {})["lr"] = rate
    for text in plan.overrides.get(method, ()):
        parts, value = parse_override(text)
        apply_override(tree, parts, value)
    if fit is not None:
        if not kind.allocates:
            tree["memory"]["frozen_format"] = fit.format
        if not kind.central:
            tree["federation"]["changes"] = without(fit)
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
        "privacy": (derived.privacy, base.privacy),
    }
    if method not in plan.fits:
        pairs["federation.changes"] = (derived.federation.changes, base.federation.changes)
    if not load_method(method).central:
        pairs["adversaries"] = (derived.adversaries, base.adversaries)
        for key in ("clients", "participants", "spares"):
            pairs[f"federation.{key}"] = (getattr(derived.federation, key), getattr(base.federation, key))
    for key in type(base.data).model_fields.keys() - {"batch_size", "label_shift", "label_shift_schedule"}:
        pairs[f"data.{key}"] = (getattr(derived.data, key), getattr(base.data, key))
    changed = sorted(key for key, (now, needed) in pairs.items() if now != needed)
    if changed:
        raise ConfigError(f"--set {method}: {changed[0]} is the same for all methods, or given by its own option")


def _published_steps(kind: type[MethodSpec]) -> int:
    """K as published by the authors."""
    settings = ZOConfig if kind.steps_in == "zo" else kind.Settings
    return kind.published.get(f"{kind.steps_in}.local_steps", settings.model_fields["local_steps"].default)


def _steps(plan: ComparisonPlan, kind: type[MethodSpec], cost: int) -> int:
    """Number of local steps, of `cost` passes each: as published, or fewer, so that there are _LEAST_ROUNDS rounds."""
    return max(1, min(_published_steps(kind), _passes(plan, kind) // (cost * _LEAST_ROUNDS)))


def rounds_for(plan: ComparisonPlan, config: ExperimentConfig) -> int:
    """Number of rounds that the comparison's forward passes allow."""
    return max(1, _passes(plan, config.spec) // config.cost_per_round)


def _passes(plan: ComparisonPlan, kind: type[MethodSpec]) -> int:
    """Forward passes of a client in a whole run. One client with all data makes those of all participants."""
    federation = plan.base.federation
    return plan.passes * (participant_count(federation.clients, federation.participants) if kind.central else 1)


def describe(plan: ComparisonPlan) -> dict[str, Any]:
    """All that decides the results, as JSON values. A resume must not change it."""
    allowed = {name: list(names) for name, names in sorted(plan.placements.items())}
    return {
        "settings": plan.base.numbers(),
        "eval": {"rows": plan.base.eval.rows, "every": plan.base.eval.every}
        | ({"keep": "best", "metric": plan.base.eval.metric} if plan.base.eval.keep == "best" else {}),
        "methods": list(plan.methods),
        "seeds": list(plan.seeds),
        "rates": {name: list(values) for name, values in sorted(plan.rates.items())},
        "tune_share": plan.tune_share,
        "overrides": {name: list(values) for name, values in sorted(plan.overrides.items())},
    } | ({"placements": allowed} if allowed else {})
