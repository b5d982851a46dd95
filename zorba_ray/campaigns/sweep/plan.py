"""Plans the trials of a sweep from its space. Each trial is a complete, checked run configuration with its own name.

Grids are combined in all ways. Other values are drawn by counters, so that draw i never changes. A point of the space
is {dotted key: Pick}, without keys whose `when` does not hold.
"""

import copy
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from zorba_ray.config import Dimension, ExperimentConfig, SweepConfig, anchored, config_from_tree
from zorba_ray.config.base import apply_override
from zorba_ray.directions import uniforms
from zorba_ray.errors import ConfigError


class Pick(NamedTuple):
    """One value of a point."""

    value: Any
    label: str | None = None
    """Name of the value, if the space gives it one."""


Point = dict[str, Pick]


@dataclass(frozen=True)
class TrialPlan:
    """One trial: a point of the space, and its run configuration."""

    number: int
    name: str
    """Of its run directory."""
    values: dict[str, Any]
    """Swept key -> value with the type of the setting, or its label; None if the key is not used in this trial."""
    point: Point
    """The picked values; a resume starts from them."""
    config: ExperimentConfig


def plan_trials(sweep: SweepConfig, base: Mapping[str, Any]) -> list[TrialPlan]:
    """All trials of a grid or random search.

    Raises:
        ConfigError: a trial's settings are refused (names the trial's values), or two trials are the same run.
    """
    samples = sweep.samples if sweep.search.type == "random" else 1
    planned_points = points(sweep.space, defaults(base), samples, sweep.search.seed)
    trials = [make_trial(sweep, base, number, point) for number, point in enumerate(planned_points)]
    never = [key for key in sweep.space if not any(key in trial.point for trial in trials)]
    if never:
        raise ConfigError(f"sweep {sweep.name}: space.{never[0]}.when holds for no trial; correct it, or drop the key")
    require_different(trials)
    return trials


def typical_trials(sweep: SweepConfig, base: Mapping[str, Any]) -> list[TrialPlan]:
    """Trials at both ends and in the middle of a space, for a search that proposes trials while it runs.

    Raises:
        ConfigError: none of them is valid; the fault of the last one.
    """
    trials: list[TrialPlan] = []
    fault: ConfigError | None = None
    for share in (0.0, 0.5, 1.0):
        point = {key: drawn_at(dimension, share) for key, dimension in sweep.space.items()}
        try:
            trials.append(make_trial(sweep, base, len(trials), point))
        except ConfigError as error:
            fault = error
    if fault is not None and not trials:
        raise fault
    return trials


def make_trial(sweep: SweepConfig, base: Mapping[str, Any], number: int, point: Point) -> TrialPlan:
    """The trial at a point.

    Raises:
        ConfigError: its settings are refused; the message names the point.
    """
    tree = copy.deepcopy(dict(base))
    for key, pick in point.items():
        apply_override(tree, key.split("."), copy.deepcopy(pick.value))
    tree["name"] = f"{sweep.name}-{number:03d}"
    tracking = {} if tree.get("tracking") is None else tree["tracking"]
    if isinstance(tracking, dict):  # what else it is, validation refuses
        tree["tracking"] = {**tracking, "group": sweep.name}
    shown = ", ".join(f"{key}={_shown(pick)}" for key, pick in point.items())
    config = anchored(config_from_tree(tree, f"sweep {sweep.name}, trial {number} ({shown})"))
    _require_metrics(sweep, config, f"sweep {sweep.name}, trial {number} ({shown})")
    if sweep.scheduler.type != "fifo" and config.rounds <= sweep.scheduler.grace_rounds:
        raise ConfigError(
            f"sweep {sweep.name}: scheduler.grace_rounds={sweep.scheduler.grace_rounds} is not below "
            f"rounds={config.rounds}, so no trial could be stopped early: lower it, or use scheduler.type=fifo"
        )
    values = {key: _typed(config, key, point.get(key)) for key in sweep.space}
    return TrialPlan(number, _name(number, values), values, dict(point), config)


def require_different(trials: Iterable[TrialPlan]) -> None:
    """Checks that no two trials are the same run.

    Raises:
        ConfigError: two are the same; names both.
    """
    by_settings: dict[str, TrialPlan] = {}
    for trial in trials:
        settings = {key: value for key, value in trial.config.resolved().items() if key != "name"}
        other = by_settings.setdefault(json.dumps(settings, sort_keys=True), trial)
        if other is not trial:
            raise ConfigError(
                f"trials {other.name} and {trial.name} are the same run: {_values(other)} and {_values(trial)} give "
                "equal settings; list every value once"
            )


def defaults(base: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the base run with defaults. `when` reads them for keys that are not swept."""
    try:
        return config_from_tree(dict(base), "base").resolved()
    except ConfigError:
        plain = ExperimentConfig().resolved()
        for key, value in base.items():
            plain[key] = (
                {**plain[key], **value} if isinstance(value, dict) and isinstance(plain.get(key), dict) else value
            )
        return plain


def _require_metrics(sweep: SweepConfig, config: ExperimentConfig, origin: str) -> None:
    for metric in sweep.metric:
        figure = metric.name.removeprefix("validation_").removeprefix("test_")
        if not config.reports(figure):
            why = "only language models and completions have it; " if figure == "perplexity" else ""
            raise ConfigError(
                f"{origin}: metric {metric.name} is never reported with task.kind={config.task_kind}: {why}use a loss"
            )


def _typed(config: ExperimentConfig, key: str, pick: Pick | None) -> Any:
    if pick is None:
        return None
    if pick.label is not None:
        return pick.label
    node = _look_up(config.resolved(), key)
    return node if isinstance(node, (int, float, str, type(None))) else _shown(pick)


def _shown(pick: Pick) -> str:
    return pick.label if pick.label is not None else str(pick.value)


def _values(trial: TrialPlan) -> str:
    return ", ".join(f"{key}={value}" for key, value in trial.values.items())


def _name(number: int, values: Mapping[str, Any]) -> str:
    """A name such as '003-epsilon=0.5-seed=1', of at most 80 characters, that can be the name of a folder."""
    parts = [
        f"{key.rsplit('.', 1)[-1]}={value:.6g}" if isinstance(value, float) else f"{key.rsplit('.', 1)[-1]}={value}"
        for key, value in values.items()
        if value is not None
    ]
    text = re.sub(r"[^A-Za-z0-9=._+-]+", "_", "-".join([f"{number:03d}", *parts]))
    return text[:80].rstrip("-_.")


def points(space: Mapping[str, Dimension], base: Mapping[str, Any], samples: int, seed: int) -> Iterator[Point]:
    """All combinations of the grids, `samples` times with new draws. The last key varies fastest; equal points occur
    once.

    Args:
        base: settings of the base run, as in `defaults`.
    """
    grids = [key for key, dimension in space.items() if dimension.form == "grid"]
    unique: list[Point] = []
    corners = list(itertools.product(*(space[key].options for key in grids)))
    for draw in range(samples):
        for corner_number, corner in enumerate(corners):
            fixed = dict(zip(grids, corner, strict=True))
            point: Point = {}
            for axis, (key, dimension) in enumerate(space.items()):
                if not active(dimension, point, base):
                    continue
                if key in fixed:
                    label, value = fixed[key]
                    point[key] = Pick(value, label)
                else:
                    share = uniforms(seed, "sweep", draw * len(corners) + corner_number, axis, 1)[0]
                    point[key] = drawn_at(dimension, float(share))
            if point not in unique:
                unique.append(point)
                yield point


def active(dimension: Dimension, point: Mapping[str, Pick], base: Mapping[str, Any]) -> bool:
    """Whether the dimension's `when` holds, by the values picked so far and the settings of the base run."""
    for key, condition in (dimension.when or {}).items():
        pick = point[key] if key in point else Pick(_look_up(base, key))
        choices = condition if isinstance(condition, list) else [condition]
        if not any(_same(pick.value, choice) or pick.label == choice for choice in choices):
            return False
    return True


def drawn_at(dimension: Dimension, share: float) -> Pick:
    """The value of a dimension that is not a grid, for a random number `share` in (0, 1)."""
    if dimension.form == "choice":
        options = dimension.options
        label, value = options[min(int(share * len(options)), len(options) - 1)]
        return Pick(value, label)
    low, high, *q = dimension.bounds
    value = low * (high / low) ** share if dimension.form == "loguniform" else low + (high - low) * share
    return Pick(rounded(value, low, high, q[0]) if q else value)


def rounded(value: float, low: float, high: float, q: float) -> float:
    """The nearest multiple of q in [low, high], rounded to ten digits, so that 3 · 0.1 is 0.3."""
    steps = min(max(round(value / q), math.ceil(low / q - 1e-9)), math.floor(high / q + 1e-9))
    return float(f"{steps * q:.10g}")


def _same(value: Any, choice: Any) -> bool:
    """Whether two values are equal. YAML 1.1 reads 1e-3 as text, so text may equal a number."""
    if value == choice:
        return True
    try:
        return (
            isinstance(value, (int, float, str))
            and isinstance(choice, (int, float, str))
            and (float(value) == float(choice))
        )
    except (ValueError, OverflowError):
        return False


def _look_up(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
