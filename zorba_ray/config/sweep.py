"""A sweep: a run, a space over its dotted settings, and how the space is searched. Imports no Ray."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from zorba_ray.config.base import (
    StrictModel,
    apply_override,
    known_keys,
    parse_override,
    validated,
)
from zorba_ray.config.dimension import Dimension
from zorba_ray.config.experiment import ExperimentConfig
from zorba_ray.config.loading import load_tree, meant_file, presets
from zorba_ray.config.suggestions import nearest_setting
from zorba_ray.config.task import SCORES
from zorba_ray.config.yaml_text import read_yaml
from zorba_ray.errors import ConfigError
from zorba_ray.printable import shown

EveryEvaluation = Literal[
    "validation_loss",
    "validation_perplexity",
    "validation_accuracy",
    "validation_balanced_accuracy",
    "validation_macro_f1",
    "validation_mcc",
    "validation_exact_match",
    "validation_token_f1",
    "validation_rouge_l",
    "validation_number_match",
    "validation_reward",
]
"""Metrics that a trial reports at every evaluation: what a scheduler can judge by."""
AtTheEnd = Literal[
    "test_loss",
    "test_perplexity",
    "test_accuracy",
    "test_balanced_accuracy",
    "test_macro_f1",
    "test_mcc",
    "test_exact_match",
    "test_token_f1",
    "test_rouge_l",
    "test_number_match",
    "test_reward",
    "fleet_vram_bytes",
    "worst_share",
    "f1",
    "bytes_up_per_client_round",
    "bytes_down_per_client_round",
    "distance",
    "wall_s",
    "cpu_s",
]
"""Metrics that a trial reports once, from its summary."""

NOT_SWEPT = ("name", "tracking", "allocation.time_limit_s")
"""Settings that belong to the sweep or to the machine, not to a trial."""


MOST_TRIALS = 10_000
"""Of a sweep."""


class SearchConfig(StrictModel):
    """Where the next trial comes from."""

    type: Literal["grid", "random", "optuna"] = "grid"
    """`grid`: all grids crossed. `random`: the same, times `samples` draws of what is no grid. `optuna`: TPE, which
    learns from the trials before (extra `optuna`); with two metrics it seeks the Pareto front."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the draws; the runs have a seed of their own."""


class SchedulerConfig(StrictModel):
    """Which trials are ended early, judged at every evaluation."""

    type: Literal["fifo", "asha", "median"] = "fifo"
    """`fifo`: none. `asha`: asynchronous successive halving. `median`: worse than the median of the others so far."""
    grace_rounds: int = Field(default=10, ge=1)
    """Rounds that every trial may run."""
    reduction_factor: float = Field(default=3.0, gt=1)
    """asha: of so many trials at a rung one goes on."""


class MetricConfig(StrictModel):
    """A figure of a trial, and which way is better."""

    name: Literal[EveryEvaluation, AtTheEnd] = "validation_loss"
    """One of the figures that every trial reports."""
    mode: Literal["min", "max"] = "min"
    """Smaller or larger is better."""

    @model_validator(mode="after")
    def _right_way(self) -> "MetricConfig":
        better = ("accuracy", "macro_f1", "mcc", "reward", *SCORES)
        ways = {("loss", "perplexity"): ("min", "less"), better: ("max", "more")}
        for endings, (mode, way) in ways.items():
            if self.name.endswith(endings) and self.mode != mode:
                raise ValueError(f"metric {self.name} with mode={self.mode}: {way} is better; write mode: {mode}")
        return self


def _metrics(value: Any) -> Any:
    return [value] if isinstance(value, (dict, MetricConfig)) else value


class SweepConfig(StrictModel):
    """One sweep of zorba-ray."""

    name: str = Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Short name; the directory is runs/sweeps/NAME unless --sweep-dir says otherwise; the W&B group."""
    question: str = Field(default="", max_length=400)
    """What the sweep answers, in a sentence."""
    run: str = "demo"
    """The run that is varied: a preset, or a run file beside this one."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Settings of the run that differ from its file in all trials, dotted key -> value."""
    space: dict[str, Dimension] = Field(min_length=1)
    """Dotted setting -> how it varies."""
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    samples: int = Field(default=1, ge=1)
    """Draws per point of the grid (`random`), or trials (`optuna`)."""
    concurrency: int | None = Field(default=None, ge=1)
    """Trials at a time; None is as many as the cluster holds."""
    metric: Annotated[tuple[MetricConfig, ...], BeforeValidator(_metrics)] = (MetricConfig(),)
    """The figure that trials are compared by, or two for a Pareto front."""
    nodes: Literal["driver", "any"] = "driver"
    """Where trials compute: on the node of the sweep directory, or on any (the directory is on shared storage)."""

    @field_validator("space")
    @classmethod
    def _known(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        for key, dimension in space.items():
            require_setting(key)
            for other in dimension.when or {}:
                require_setting(other)
        return space

    @field_validator("set")
    @classmethod
    def _settable(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in values:
            require_setting(key, sweep_only=False)
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "SweepConfig":
        forms = {key: dimension.form for key, dimension in self.space.items()}
        drawn = [key for key, form in forms.items() if form != "grid"]
        grids = [key for key, form in forms.items() if form == "grid"]
        for place, (key, dimension) in enumerate(self.space.items()):
            late = [other for other in dimension.when or {} if other in list(self.space)[place:]]
            if late:
                raise ValueError(f"space.{key}.when names {late[0]}, which must stand before {key} in the space")
        if self.search.type == "grid" and drawn:
            raise ValueError(f"search.type=grid, but {drawn[0]} is {forms[drawn[0]]}: use grid, or search.type=random")
        if self.search.type == "optuna" and grids:
            raise ValueError(f"search.type=optuna, but {grids[0]} is a grid: use choice")
        trials = math.prod(len(self.space[key].options) for key in grids) * self.samples
        if trials > MOST_TRIALS:
            raise ValueError(f"the space has {trials:,} trials, at most {MOST_TRIALS:,}: vary less, or lower samples")
        if self.search.type == "grid" and self.samples > 1:
            raise ValueError(f"samples={self.samples} repeats equal trials of a grid: sweep `seed`, or drop samples")
        names = [metric.name for metric in self.metric]
        if not 1 <= len(names) <= 2:
            raise ValueError(f"metric: one figure, or two for a Pareto front, got {len(names)}")
        if len(set(names)) != len(names):
            raise ValueError(f"metric names {names[0]} twice")
        if self.scheduler.type != "fifo":
            if len(self.metric) > 1:
                raise ValueError(f"scheduler.type={self.scheduler.type} judges by one metric, got {names}")
            if names[0] not in get_args(EveryEvaluation):
                raise ValueError(
                    f"scheduler.type={self.scheduler.type} judges at every evaluation, but {names[0]} is reported at "
                    f"the end only: use one of {', '.join(get_args(EveryEvaluation))}, or scheduler.type=fifo"
                )
        return self

    def resolved(self) -> dict[str, Any]:
        """All settings as JSON-ready values; of a dimension only what is given."""
        tree = self.model_dump(mode="json", exclude={"space"})
        tree["space"] = {
            key: dimension.model_dump(mode="json", exclude_none=True) for key, dimension in self.space.items()
        }
        return tree


MAY_CHANGE = ("question", "concurrency", "nodes")
"""Settings of a sweep that may change between start and resume."""


def require_setting(key: str, sweep_only: bool = True) -> None:
    """Whether a dotted key is a setting of a run (and one that a sweep may vary).

    Raises:
        ValueError: with the nearest setting.
    """
    known = known_keys(ExperimentConfig)
    if key not in known:
        near = nearest_setting(key, known)
        raise ValueError(f"{key} is no setting" + (f"; did you mean {near}?" if near else "; see `zorba-ray schema`"))
    if sweep_only and any(key == name or key.startswith(f"{name}.") for name in NOT_SWEPT):
        raise ValueError(f"{key} cannot be swept: the sweep sets it, or it does not change a trial")


def load_sweep(source: str, overrides: Iterable[str] = ()) -> tuple[SweepConfig, dict[str, Any]]:
    """A sweep and the settings of the run that it varies (not validated yet: only trials are whole).

    Args:
        overrides: `key=value`; keys of the run, or of the sweep after `sweep.`, as in sweep.concurrency=1.

    Raises:
        ConfigError: a file is missing or not YAML, or a setting is refused.
    """
    if source in presets() or not os.path.isfile(source):
        if source in presets():
            raise ConfigError(f"sweep {shown(source)}: a preset of one run, not a sweep: `zorba-ray run {source}`")
        raise ConfigError(f"sweep {shown(source)}: no such file{meant_file(source)}")
    tree = read_yaml(Path(source), "sweep")
    if "space" not in tree and tree.keys() & (ExperimentConfig.model_fields.keys() - SweepConfig.model_fields.keys()):
        raise ConfigError(
            f"sweep {shown(source)}: this is a file of one run: start it with `zorba-ray run {source}`; a sweep file "
            "names it under `run` and says under `space` what varies"
        )
    for_run = []
    for text in overrides:
        parts, value = parse_override(text)
        if parts[0] == "sweep" and len(parts) > 1:
            apply_override(tree, parts[1:], value)
        else:
            for_run.append((parts, value))
    sweep = validated(SweepConfig, tree, source)
    beside = str(Path(source).parent / sweep.run)
    base = load_tree(beside if os.path.isfile(beside) else sweep.run)
    for key, value in sweep.set.items():
        apply_override(base, key.split("."), value)
    for parts, value in for_run:
        if ".".join(parts) in sweep.space:
            raise ConfigError(f"override {'.'.join(parts)}: {source} sweeps it; change its space there")
        apply_override(base, parts, value)
    return sweep, base


def named_rewards(sweep: SweepConfig, base: Mapping[str, Any]) -> list[str]:
    """Every `task.reward` that a trial may have.

    Args:
        base: the settings that the sweep varies, as of `load_sweep`.
    """
    varied = sweep.space.get("task.reward")
    task = base.get("task")
    own = task.get("reward") if isinstance(task, dict) else None
    names = [own, *(value for _, value in varied.options)] if varied is not None else [own]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))
