"""From a space to its trials before they run: each a whole, validated run configuration with a name of its own.

Grids are crossed; the rest is drawn by counters, so that draw i is the same whenever asked. A point of the space is
{dotted key: Pick}; keys whose `when` does not hold are absent.
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
    """How it is shown, where the space names it."""


Point = dict[str, Pick]


@dataclass(frozen=True)
class TrialPlan:
    """One trial: a point of the space, and the run that it makes."""

    number: int
    name: str
    """Of its run directory."""
    values: dict[str, Any]
    """Swept key -> value as typed by the settings, or its label; None where it is inactive."""
    point: Point
    """As picked: what a resume starts from."""
    config: ExperimentConfig


def plan_trials(sweep: SweepConfig, base: Mapping[str, Any]) -> list[TrialPlan]:
    """All trials of a grid or random search.

    Raises:
        ConfigError: a trial's settings are refused (names the trial's values), or two trials are the same run.
    """
    samples = sweep.samples if sweep.search.type == "random" else 1
    found = points(sweep.space, defaults(base), samples, sweep.search.seed)
    trials = [make_trial(sweep, base, number, point) for number, point in enumerate(found)]
    never = [key for key in sweep.space if not any(key in trial.point for trial in trials)]
    if never:
        raise ConfigError(f"sweep {sweep.name}: space.{never[0]}.when holds for no trial; correct it, or drop the key")
    require_different(trials)
    return trials


def typical_trials(sweep: SweepConfig, base: Mapping[str, Any]) -> list[TrialPlan]:
    """Trials at both ends and in the middle of a space whose trials are proposed as it runs.

    Raises:
        ConfigError: none of them is valid; the last one's fault.
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
            f"sweep {sweep.name}: scheduler.grace_rounds={sweep.scheduler.grace_rounds} leaves nothing to stop of "
            f"rounds={config.rounds}: lower it, or use scheduler.type=fifo"
        )
    values = {key: _typed(config, key, point.get(key)) for key in sweep.space}
    return TrialPlan(number, _name(number, values), values, dict(point), config)


def require_different(trials: Iterable[TrialPlan]) -> None:
    """Whether every trial is a run of its own.

    Raises:
        ConfigError: two are the same; names both.
    """
    seen: dict[str, TrialPlan] = {}
    for trial in trials:
        settings = {key: value for key, value in trial.config.resolved().items() if key != "name"}
        other = seen.setdefault(json.dumps(settings, sort_keys=True), trial)
        if other is not trial:
            raise ConfigError(
                f"trials {other.name} and {trial.name} are the same run: {_values(other)} and {_values(trial)} make "
                "equal settings; name every value once"
            )


def defaults(base: Mapping[str, Any]) -> dict[str, Any]:
    """The run's own settings with defaults, as far as they are valid on their own: what `when` falls back on."""
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
            why = "it is of texts; " if figure == "perplexity" else ""
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
    """'003-epsilon=0.5-seed=1', at most 80 characters, safe as a folder's name."""
    parts = [
        f"{key.rsplit('.', 1)[-1]}={value:.6g}" if isinstance(value, float) else f"{key.rsplit('.', 1)[-1]}={value}"
        for key, value in values.items()
        if value is not None
    ]
    text = re.sub(r"[^A-Za-z0-9=._+-]+", "_", "-".join([f"{number:03d}", *parts]))
    return text[:80].rstrip("-_.")


def points(space: Mapping[str, Dimension], base: Mapping[str, Any], samples: int, seed: int) -> Iterator[Point]:
    """All grids crossed, the last key varying fastest, `samples` times with fresh draws; equal points once.

    Args:
        base: the run's own settings, which `when` falls back on.
    """
    grids = [key for key, dimension in space.items() if dimension.form == "grid"]
    seen: list[Point] = []
    corners = list(itertools.product(*(space[key].options for key in grids)))
    for draw in range(samples):
        for place, corner in enumerate(corners):
            fixed = dict(zip(grids, corner, strict=True))
            point: Point = {}
            for axis, (key, dimension) in enumerate(space.items()):
                if not active(dimension, point, base):
                    continue
                if key in fixed:
                    label, value = fixed[key]
                    point[key] = Pick(value, label)
                else:
                    share = uniforms(seed, "sweep", draw * len(corners) + place, axis, 1)[0]
                    point[key] = drawn_at(dimension, float(share))
            if point not in seen:
                seen.append(point)
                yield point


def active(dimension: Dimension, point: Mapping[str, Pick], base: Mapping[str, Any]) -> bool:
    """Whether `when` holds, for what was picked before or the run's own settings."""
    for key, wanted in (dimension.when or {}).items():
        found = point[key] if key in point else Pick(_look_up(base, key))
        choices = wanted if isinstance(wanted, list) else [wanted]
        if not any(_same(found.value, choice) or found.label == choice for choice in choices):
            return False
    return True


def drawn_at(dimension: Dimension, share: float) -> Pick:
    """The value of a non-grid dimension at `share` of (0, 1)."""
    if dimension.form == "choice":
        options = dimension.options
        label, value = options[min(int(share * len(options)), len(options) - 1)]
        return Pick(value, label)
    low, high, *q = dimension.bounds
    value = low * (high / low) ** share if dimension.form == "loguniform" else low + (high - low) * share
    return Pick(rounded(value, low, high, q[0]) if q else value)


def rounded(value: float, low: float, high: float, q: float) -> float:
    """The nearest multiple of q within [low, high]; ten digits, so that 3 · 0.1 reads 0.3."""
    steps = min(max(round(value / q), math.ceil(low / q - 1e-9)), math.floor(high / q + 1e-9))
    return float(f"{steps * q:.10g}")


def _same(found: Any, wanted: Any) -> bool:
    """Equal, also where YAML 1.1 reads one number as text (1e-3)."""
    if found == wanted:
        return True
    try:
        return (
            isinstance(found, (int, float, str))
            and isinstance(wanted, (int, float, str))
            and (float(found) == float(wanted))
        )
    except (ValueError, OverflowError):
        return False


def _look_up(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
