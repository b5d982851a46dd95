"""Trials before they run: each a whole, validated run configuration with a name of its own."""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zorba_ray.config import ExperimentConfig, SweepConfig, anchored, config_from_tree
from zorba_ray.config.base import apply_override
from zorba_ray.errors import ConfigError
from zorba_ray.sweep.space import Pick, Point, points, quantile


@dataclass(frozen=True)
class TrialPlan:
    """One trial: a point of the space, and the run that it makes."""

    number: int
    name: str
    """Of its run directory."""
    values: dict[str, Any]
    """Swept key -> value as typed by the settings, or its label; None where it is inactive."""
    picks: dict[str, tuple[Any, str | None]]
    """Swept key -> (value, label) as picked: what a resume starts from."""
    config: ExperimentConfig


def plan_trials(sweep: SweepConfig, base: Mapping[str, Any]) -> list[TrialPlan]:
    """All trials of a grid or random search.

    Raises:
        ConfigError: a trial's settings are refused (names the trial's values), or two trials are the same run.
    """
    samples = sweep.samples if sweep.search.type == "random" else 1
    found = points(sweep.space, defaults(base), samples, sweep.search.seed)
    trials = [make_trial(sweep, base, number, point) for number, point in enumerate(found)]
    never = [key for key in sweep.space if not any(key in trial.picks for trial in trials)]
    if never:
        raise ConfigError(f"sweep {sweep.name}: space.{never[0]}.when holds for no trial; correct it, or drop the key")
    require_different(trials)
    return trials


def typical_trials(sweep: SweepConfig, base: Mapping[str, Any]) -> list[TrialPlan]:
    """Trials at both ends and in the middle of a space whose trials are proposed as it runs.

    Raises:
        ConfigError: none of them is valid; the last one's fault.
    """
    found: list[TrialPlan] = []
    fault = ConfigError(f"sweep {sweep.name}: no trial")
    for share in (0.0, 0.5, 1.0):
        try:
            found.append(
                make_trial(sweep, base, len(found), {key: quantile(dim, share) for key, dim in sweep.space.items()})
            )
        except ConfigError as error:
            fault = error
    if not found:
        raise fault
    return found


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
    shown = ", ".join(f"{key}={_show(pick)}" for key, pick in point.items())
    config = anchored(config_from_tree(tree, f"sweep {sweep.name}, trial {number} ({shown})"))
    _require_metrics(sweep, config, f"sweep {sweep.name}, trial {number} ({shown})")
    if sweep.scheduler.type != "fifo" and config.rounds <= sweep.scheduler.grace_rounds:
        raise ConfigError(
            f"sweep {sweep.name}: scheduler.grace_rounds={sweep.scheduler.grace_rounds} leaves nothing to stop of "
            f"rounds={config.rounds}: lower it, or use scheduler.type=fifo"
        )
    values = {key: _typed(config, key, point.get(key)) for key in sweep.space}
    picks = {key: (pick.value, pick.label) for key, pick in point.items()}
    return TrialPlan(number, _name(number, values), values, picks, config)


def point_of(picks: Mapping[str, Iterable[Any]]) -> Point:
    """The point that `TrialPlan.picks` came from."""
    return {key: Pick(*pick) for key, pick in picks.items()}


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
        if metric.name.endswith("accuracy") and config.model.head == "lm":
            raise ConfigError(f"{origin}: metric {metric.name} is never reported with model.head=lm: use a loss")


def _typed(config: ExperimentConfig, key: str, pick: Pick | None) -> Any:
    if pick is None:
        return None
    if pick.label is not None:
        return pick.label
    node: Any = config.resolved()
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, (int, float, str, type(None))) else _show(pick)


def _show(pick: Pick) -> str:
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
