"""A run where its settings say: in this process, or next to its directory in the driver actor of a Ray cluster."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Eval, RunDir, records_of
from zorba_ray.config import ExperimentConfig, config_from_tree
from zorba_ray.errors import ConfigError, RewardError, RunDirError
from zorba_ray.experiment.backends import fleet_actors
from zorba_ray.experiment.keeping import ends_early
from zorba_ray.experiment.run import Closing, Emit, run_experiment
from zorba_ray.federation.accelerator import choose_accelerator, gpu_count, with_counted_gpus
from zorba_ray.tasks.reward_code import RewardCode

ENTRY = "zorba_ray.experiment.execute:run_in_driver"


def execute_in(
    config: ExperimentConfig,
    path: Path,
    resume: bool,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None,
    reward: RewardCode | None = None,
) -> dict[str, Any]:
    """`execute` in a new directory, or in that of a run that did not end or may get more rounds; returns the summary.

    A directory that was made for settings that are then refused is taken away again.

    Raises:
        RunDirError: the directory holds something else, or a run of other settings, or there is none to resume.
        ZorbaError: as `execute`.
    """
    accelerator = choose_accelerator(config)
    config = with_counted_gpus(config, accelerator)
    existed = os.path.exists(path)  # a name too long is no error here: making the directory says so
    if not resume:
        run = RunDir.create(path, config)
    elif path.is_dir():
        run = RunDir.reopen(path, config)
        finished = run.finished()
        if finished is not None and (finished.rounds_done >= config.rounds or _used_up(run, config)):
            emit({"kind": "note", "text": f"{path} is finished; nothing to resume"})
            return finished.tree()
    else:
        raise RunDirError(f"--resume: there is no run directory {path}")
    try:
        return execute(config, run, accelerator, command, emit, should_stop, closing, reward)
    except (ConfigError, RewardError):
        if not existed:
            run.withdraw()
        raise


def _used_up(run: RunDir, config: ExperimentConfig) -> bool:
    """Whether a finished run would end again where it did, by `eval.patience` or `privacy.target_epsilon`."""
    summary = run.finished()
    if summary is not None and summary.privacy is not None and summary.privacy.spent:
        return True
    return ends_early(config, [record for record in records_of(run.metrics, Eval) if record.split == "validation"])


def execute(
    config: ExperimentConfig,
    run: RunDir,
    accelerator: str,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None,
    reward: RewardCode | None = None,
) -> dict[str, Any]:
    """`run_experiment` by `federation.backend`; returns the summary. `reward` is as of `prepare`.

    Raises:
        ZorbaError: as `run_experiment`.
        ClusterError: no Ray, or one that is too small.
    """
    if config.federation.backend == "sequential":
        return run_experiment(config, run, accelerator, command, emit, should_stop, closing, reward=reward)
    # Ray is imported only where it runs.
    from zorba_ray.federation.placement import cpus_needed, gpus_needed
    from zorba_ray.federation.ray_session import ray_session, require_capacity

    specs = fleet_actors(config, accelerator)
    emit({"kind": "status", "text": "starting Ray"})
    gpus = gpu_count(config) if accelerator == "cuda" else gpus_needed(specs)
    with ray_session(cpus_needed(specs) + 1, gpus) as resources:
        from zorba_ray.federation.ray_driver import launch

        require_capacity(specs, resources)
        payload = driver_payload(config.resolved(), run.path, accelerator, command, closing, reward)
        return launch(ENTRY, payload, emit, should_stop)


def driver_payload(
    tree: dict[str, Any],
    run: Path,
    accelerator: str,
    command: list[str],
    closing: Closing | None = None,
    reward: RewardCode | None = None,
) -> dict[str, Any]:
    """What `run_in_driver` is given. It crosses to the driver actor; `closing`, a function of a module, by its name."""
    return {
        "config": tree,
        "run": str(run.resolve()),
        "accelerator": accelerator,
        "command": command,
        "closing": closing,
        "reward": reward,
    }


def run_in_driver(payload: dict[str, Any], emit: Emit, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """`run_experiment` inside the driver actor."""
    config = config_from_tree(payload["config"], "the driver's settings")
    accelerator, command, closing = (payload[key] for key in ("accelerator", "command", "closing"))
    run, reward = RunDir(Path(payload["run"])), payload["reward"]
    return run_experiment(config, run, accelerator, command, emit, should_stop, closing, reward=reward)
