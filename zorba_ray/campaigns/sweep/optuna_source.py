"""Proposes trials by Optuna's TPE from the figures of earlier trials, for one metric, or two with a Pareto front.

When a sweep is resumed, a new study gets all trials that ended. The sampler gets a new seed for every proposal. So a
proposal depends only on the seed, its number and the earlier trials, not on a hidden state.
"""

from collections.abc import Callable, Mapping
from typing import Any

from zorba_ray.artifacts.campaigns import Sweep, Trial
from zorba_ray.campaigns.sweep.plan import Pick, Point, TrialPlan, active, defaults, make_trial, rounded
from zorba_ray.campaigns.sweep.state import new_trial
from zorba_ray.config import Dimension, SweepConfig
from zorba_ray.errors import ClusterError, ConfigError


class OptunaSource:
    """Proposes trials while a sweep runs. Grids and random searches are planned before, and do not need it.

    Args:
        state: of the sweep; refused proposals are added to it.
        admit: adds a trial; raises ClusterError if the cluster can never run it.
    """

    def __init__(
        self, sweep: SweepConfig, base: Mapping[str, Any], state: Sweep, admit: Callable[[TrialPlan], Trial]
    ) -> None:
        optuna = import_optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._sweep = sweep
        self._base = base
        self._defaults = defaults(base)
        self._state = state
        self._admit = admit
        kinds = optuna.distributions
        self._distributions: dict[str, Any] = {
            key: kinds.CategoricalDistribution(list(range(len(dimension.options))))
            if dimension.form == "choice"
            else kinds.FloatDistribution(*dimension.bounds[:2], log=dimension.form == "loguniform")
            for key, dimension in sweep.space.items()
        }
        directions = ["minimize" if metric.mode == "min" else "maximize" for metric in sweep.metric]
        self._study = optuna.create_study(directions=directions)
        for trial in state.trials:
            self.tell(trial)

    def next(self) -> Trial | None:
        """The next proposal that is a valid trial. Refused proposals become failed trials, with the reason."""
        while len(self._state.trials) < self._sweep.samples:
            number = len(self._state.trials)
            seed = (self._sweep.search.seed + number) % 2**32
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            proposal = self._study.ask(self._distributions)
            # Its result is added as a new trial by `tell`, so that a resumed sweep has the same study.
            self._study.tell(proposal, state=self._optuna.trial.TrialState.FAIL)
            point: Point = {}
            for key, dimension in self._sweep.space.items():
                if active(dimension, point, self._defaults):
                    point[key] = _pick(dimension, proposal.params[key])
            try:
                return self._admit(make_trial(self._sweep, self._base, number, point))
            except (ConfigError, ClusterError) as error:
                self._refuse(number, point, str(error))
        return None

    def tell(self, trial: Trial) -> None:
        """Adds a trial with its figures to the study; a trial that failed or diverged is not added."""
        values = [trial.figures.get(metric.name) for metric in self._sweep.metric]
        if trial.status in ("finished", "stopped") and all(value is not None for value in values):
            params = {key: _proposed(self._sweep.space[key], Pick(*pick)) for key, pick in trial.picks.items()}
            distributions = {key: self._distributions[key] for key in params}
            self._study.add_trial(
                self._optuna.trial.create_trial(values=values, params=params, distributions=distributions)
            )

    def _refuse(self, number: int, point: Point, reason: str) -> None:
        name = f"{number:03d}-refused"
        shown = {key: pick.value if pick.label is None else pick.label for key, pick in point.items()}
        refused = new_trial(number, name, {key: shown.get(key) for key in self._sweep.space}, point, 0)
        refused.status, refused.error = "failed", reason
        self._state.trials.append(refused)


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


def _pick(dimension: Dimension, proposed: Any) -> Pick:
    """A proposal as a Pick. Options are proposed by their index, because Optuna only takes simple values."""
    if dimension.form == "choice":
        label, value = dimension.options[proposed]
        return Pick(value, label)
    low, high, *q = dimension.bounds
    return Pick(rounded(proposed, low, high, q[0]) if q else proposed)


def _proposed(dimension: Dimension, pick: Pick) -> Any:
    """The inverse of `_pick`."""
    if dimension.form != "choice":
        return pick.value
    return next(
        index
        for index, (label, value) in enumerate(dimension.options)
        if (label == pick.label if pick.label is not None else value == pick.value)
    )
