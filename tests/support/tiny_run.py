"""A run on the built-in model that takes seconds, and the ways to run it in a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zorba_ray.artifacts import RunDir
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.errors import Interrupted
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.backends import BackendFactory, ray_backend
from zorba_ray.experiment.build import Setup, build_host
from zorba_ray.experiment.row_layout import SettledRows
from zorba_ray.models import Batch
from zorba_ray.models.row_layout import RowLayout
from zorba_ray.tasks.reward_code import RewardCode

TINY = [
    "name=tiny",
    "rounds=3",
    "federation.backend=sequential",
    "federation.clients=4",
    "federation.fleet=null",
    "memory={frozen: device}",
    "zo.scope=bias_norm",
    "zo.lr=0.03",
    "zo.directions=1",
    "data.batch_size=8",
    "data.train_rows=64",
    "eval.rows=64",
    "eval.every=3",
    "tracking.wandb=disabled",
]

ALIKE = (
    "data.prompt=" + " ".join(["the film was good", "the film was bad"] * 4) + " {text}",
    "data.max_length=56",
)
"""Overrides by which all rows begin with the same instruction."""


def tiny_config(*overrides: str) -> ExperimentConfig:
    """The demo cut down to four clients, one direction and a few examples."""
    return load_config("demo", [*TINY, *overrides])


def run_here(
    config: ExperimentConfig,
    path: Path,
    make_backend: BackendFactory | None = None,
    emit: Callable[[dict[str, Any]], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    reward: RewardCode | None = None,
) -> dict[str, Any]:
    """Runs in this process; resumes where `path` holds a run."""
    run = RunDir.reopen(path, config) if path.exists() else RunDir.create(path, config)
    return run_experiment(
        config, run, "simulated", ["test"], emit, should_stop, make_backend=make_backend, reward=reward
    )


def stopped_after(number: int, config: ExperimentConfig, path: Path) -> Path:
    """A run in this process that is stopped after `number` rounds."""
    rounds: list[int] = []
    with pytest.raises(Interrupted):
        run_here(
            config,
            path,
            emit=lambda event: rounds.append(1) if event["kind"] == "round" else None,
            should_stop=lambda: len(rounds) >= number,
        )
    return path


def stopped_and_resumed_on_ray(path: Path, *overrides: str) -> dict[str, Any]:
    """Summary of a tiny run with two workers that is stopped after two rounds: new workers take a snapshot and the
    commits since."""
    config = tiny_config(
        *overrides, "federation.backend=ray", "federation.workers=2", "federation.snapshot_every=1",
        "federation.deadline_s=120",
    )  # fmt: skip
    done: list[int] = []

    def watch(event: dict[str, Any]) -> None:
        if event["kind"] == "round":
            done.append(event["round"])

    with pytest.raises(Exception, match="stopped after round 2"):
        run_here(config, path, ray_backend, watch, lambda: 2 in done)
    summary = run_here(config, path, ray_backend)
    assert summary["resumed_after_round"] == 2
    return summary


def batches_of(setup: Setup, client: int, number: int = 1) -> list[Batch]:
    """The minibatches of a client's local steps in a round."""
    host = build_host(setup.config, setup.header, setup.model)
    host.load_shards(setup.shards)
    assert host.batches is not None
    return host.batches.of_round(client, number)


def whole_rows(model: Any, train: Any, begun: SettledRows | None, check: Any, alike: bool = True) -> SettledRows:
    """`settled_rows` of a program that computes all tokens of its rows."""
    check(False)
    return SettledRows(0, RowLayout())
