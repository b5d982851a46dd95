"""Trials proposed by Optuna's TPE from the figures of those before; one metric, or two for a Pareto front.

A resumed sweep tells a fresh study everything that ended. The sampler is seeded anew for every proposal, so that a
proposal depends on the seed, its number and what was told before it, and on no hidden state.
"""

from collections.abc import Callable, Mapping
from typing import Any

from zorba_ray.artifacts.campaigns import Sweep, Trial
from zorba_ray.campaigns.sweep.plan import TrialPlan, defaults, make_trial
from zorba_ray.campaigns.sweep.space import Pick, Point, active, rounded
from zorba_ray.config import Dimension, SweepConfig
from zorba_ray.errors import ClusterError, ConfigError


class OptunaSource:
    """`Source` on an Optuna study.

    Args:
        state: of the sweep; refused proposals are added to it.
        admit: adds a trial, or refuses one that the cluster could never hold (`ClusterError`).
    """

    def __init__(
        self,
        sweep: SweepConfig,
        base: Mapping[str, Any],
        state: Sweep,
        admit: Callable[[TrialPlan], Trial],
    ) -> None:
        optuna = import_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._sweep = sweep
        self._base = base
        self._defaults = defaults(base)
        self._state = state
        self._admit = admit
        directions = ["minimize" if metric.mode == "min" else "maximize" for metric in sweep.metric]
        self._study = optuna.create_study(directions=directions)
        self._asked: dict[int, Any] = {}
        for trial in state.trials:
            if trial.status in ("finished", "stopped", "failed"):
                self.tell(trial)

    def next(self) -> Trial | None:
        """The next proposal that makes a valid trial; refused ones are kept as failed trials, with the reason."""
        while len(self._state.trials) < self._sweep.samples:
            number = len(self._state.trials)
            seed = (self._sweep.search.seed + number) % 2**32
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            asked = self._study.ask()
            point: Point = {}
            for key, dimension in self._sweep.space.items():
                if active(dimension, point, self._defaults):
                    point[key] = _suggest(asked, key, dimension)
            try:
                trial = self._admit(make_trial(self._sweep, self._base, number, point))
            except (ConfigError, ClusterError) as error:
                self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
                self._refuse(number, point, str(error))
                continue
            self._asked[number] = asked
            return trial
        return None

    def tell(self, trial: Trial) -> None:
        """Its figures become values of the study; a trial without them counts as failed."""
        states = self._optuna.trial.TrialState
        values = [trial.figures.get(metric.name) for metric in self._sweep.metric]
        known = trial.status != "failed" and all(value is not None for value in values)
        asked = self._asked.pop(trial.trial, None)
        if asked is not None:
            self._study.tell(asked, values if known else None, state=states.COMPLETE if known else states.FAIL)
        elif known:
            params, distributions = {}, {}
            for key, (value, label) in trial.picks.items():
                distributions[key] = self._distribution(self._sweep.space[key])
                params[key] = _option_place(self._sweep.space[key], value, label)
            self._study.add_trial(
                self._optuna.trial.create_trial(values=values, params=params, distributions=distributions)
            )

    def _refuse(self, number: int, point: Point, reason: str) -> None:
        name = f"{number:03d}-refused"
        self._state.trials.append(
            Trial(
                trial=number,
                name=name,
                run=f"trials/{name}",
                log=f"logs/{name}.log",
                values={key: _shown(point.get(key)) for key in self._sweep.space},
                picks={key: (pick.value, pick.label) for key, pick in point.items()},
                status="failed",
                error=reason,
                rounds=0,
            )
        )

    def _distribution(self, dimension: Dimension) -> Any:
        kinds = self._optuna.distributions
        if dimension.form == "choice":
            return kinds.CategoricalDistribution(list(range(len(dimension.options))))
        low, high, *_ = dimension.bounds
        return kinds.FloatDistribution(low, high, log=dimension.form == "loguniform")


def import_optuna() -> Any:
    """The optuna package.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("search.type=optuna needs an extra: pip install 'zorba-ray[optuna]'") from error
    return optuna


def _suggest(asked: Any, key: str, dimension: Dimension) -> Pick:
    """Options are proposed by their place: Optuna takes plain values only."""
    if dimension.form == "choice":
        label, value = dimension.options[asked.suggest_categorical(key, list(range(len(dimension.options))))]
        return Pick(value, label)
    low, high, *q = dimension.bounds
    value = asked.suggest_float(key, low, high, log=dimension.form == "loguniform")
    return Pick(rounded(value, low, high, q[0]) if q else value)


def _option_place(dimension: Dimension, value: Any, label: str | None) -> Any:
    if dimension.form != "choice":
        return value
    return next(
        place
        for place, (name, option) in enumerate(dimension.options)
        if (name == label if label is not None else option == value)
    )


def _shown(pick: Pick | None) -> Any:
    if pick is None:
        return None
    return pick.label if pick.label is not None else pick.value
