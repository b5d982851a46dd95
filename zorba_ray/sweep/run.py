"""A sweep on Ray Tune: plan, refuse what can never run, run what is left, keep sweep.json true.

Tune schedules and stops trials; it keeps nothing that counts. Each trial goes on from its own ledger, sweep.json says
which trials there are, so that a sweep killed at any moment resumes without Tune's snapshots.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune

from zorba_ray.artifacts import held, making, raise_storage_error
from zorba_ray.config import SweepConfig
from zorba_ray.errors import Interrupted, SweepIncomplete
from zorba_ray.experiment.run import Closing
from zorba_ray.federation.accelerator import gpu_count
from zorba_ray.federation.ray_session import ray_session
from zorba_ray.sweep.optuna_source import OptunaSource, import_optuna
from zorba_ray.sweep.plan import TrialPlan, make_trial, plan_trials, point_of, typical_trials
from zorba_ray.sweep.resources import TrialNeeds, require_room, trial_needs
from zorba_ray.sweep.schedule import make_scheduler
from zorba_ray.sweep.search import PlannedSearch, Source
from zorba_ray.sweep.state import SweepDir, SweepState, TrialState, read_state, require_free
from zorba_ray.sweep.stopping import SweepStop
from zorba_ray.sweep.trial import FederationTrial, trial_payload
from zorba_ray.sweep.watch import Emit, Watch

_GPU_TRIALS = 4
"""Trials at a time that a private Ray has logical GPUs for."""


def run_sweep(
    sweep: SweepConfig,
    base: dict[str, Any],
    path: Path,
    resume: bool,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None = None,
) -> SweepState:
    """Runs all trials that are not finished; returns the state, which is in sweep.json whatever happens.

    Args:
        base: settings of the run that is varied, as `load_sweep` gives them.
        closing: writes the report of a finished trial's run directory.

    Raises:
        ConfigError: a trial's settings are refused, before anything runs.
        ClusterError: no Ray, or a trial that it could never hold, before anything runs.
        RunDirError: the directory exists, is in use, or belongs to another sweep.
        Interrupted: asked to stop; every trial is resumable.
        SweepIncomplete: all trials ended, some of them failed.
    """
    if sweep.search.type == "optuna":
        import_optuna()
        plans: dict[int, TrialPlan] = {}
        typical = typical_trials(sweep, base)
    else:
        plans = {plan.number: plan for plan in plan_trials(sweep, base)}
        typical = list(plans.values())
    if resume:
        read_state(path)
    else:
        with making("--sweep-dir", path):
            require_free(path)
            path.mkdir(parents=True, exist_ok=True)
    with held(path, wait_s=15.0):
        if resume:
            directory = SweepDir.reopen(path, sweep, base)
            for trial in directory.state.trials:
                if trial.rounds:
                    plans[trial.trial] = make_trial(sweep, base, trial.trial, point_of(trial.picks))
        else:
            directory = SweepDir.create(path, sweep, base, command)
            for plan in plans.values():
                directory.add(plan)
        return _Sweep(sweep, base, directory, plans, typical, command, emit, should_stop, closing).run()


class _Sweep:
    """One session of a sweep."""

    def __init__(
        self,
        sweep: SweepConfig,
        base: dict[str, Any],
        directory: SweepDir,
        plans: dict[int, TrialPlan],
        typical: list[TrialPlan],
        command: list[str],
        emit: Emit,
        should_stop: Callable[[], bool],
        closing: Closing | None,
    ) -> None:
        self._sweep = sweep
        self._base = base
        self._directory = directory
        self._plans = plans
        self._typical = typical
        """What a private Ray is sized for, and the longest trial is taken from."""
        self._command = command
        self._emit = emit
        self._should_stop = should_stop
        self._closing = closing
        self._node: str | None = None

    def run(self) -> SweepState:
        directory = self._directory
        directory.take_stock()
        directory.state.status = "running"
        needs = [(plan, self._needs(plan)) for plan in self._typical]
        self._emit({"kind": "status", "text": "starting Ray"})
        with ray_session(max(need.cpus for _, need in needs), _private_gpus(needs)):
            if self._sweep.nodes == "driver":
                self._node = f"node:{ray.util.get_node_ip_address()}"
            for plan in self._plans.values():
                self._admit(plan)
            directory.write()
            total = self._sweep.samples if self._sweep.search.type == "optuna" else len(directory.state.trials)
            ended = sum(trial.status in ("finished", "stopped") for trial in directory.state.trials)
            self._emit({"kind": "plan", "trials": total, "ended": ended})
            self._tune()
        return self._conclude()

    def _tune(self) -> None:
        directory, sweep = self._directory, self._sweep
        waiting = [trial for trial in directory.state.trials if trial.status == "pending"]
        past = [trial for trial in directory.state.trials if trial.status in ("finished", "stopped")]
        source: Source | None = None
        left = len(waiting)
        if sweep.search.type == "optuna":
            source = OptunaSource(sweep, self._base, directory, self._admit_new)
            left += max(0, sweep.samples - len(directory.state.trials))
        if not left:
            return
        rounds = max(plan.config.rounds for plan in self._typical)
        stop = SweepStop(directory, self._should_stop)
        watch = Watch(directory, source, self._emit, stop.asked)
        _quiet()
        tuner = tune.Tuner(
            tune.with_parameters(FederationTrial, closing=self._closing),
            tune_config=tune.TuneConfig(
                search_alg=PlannedSearch(waiting, self._payload, source, stop.asked),
                scheduler=make_scheduler(sweep, rounds, past),
                num_samples=left,
                max_concurrent_trials=sweep.concurrency,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=f"session-{directory.state.sessions}",
                storage_path=str((directory.path / "tune").resolve()),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=sweep.retries),
                callbacks=[watch],
                stop=stop,
                verbose=0,
            ),
        )
        tuner.fit()

    def _conclude(self) -> SweepState:
        directory = self._directory
        state = directory.state
        open_ = [trial for trial in state.trials if trial.status in ("pending", "running")]
        for trial in open_:
            trial.status = "pending"
        short = self._sweep.search.type == "optuna" and len(state.trials) < self._sweep.samples
        state.status = "interrupted" if open_ or short else "finished"
        directory.write()
        if directory.broken is not None:
            raise_storage_error(directory.path, directory.broken)
            raise directory.broken
        self._emit({"kind": "sweep", **state.model_dump(mode="json")})
        if state.status == "interrupted":
            raise Interrupted(
                f"sweep stopped with {len(open_)} trial(s) under way or waiting; continue with "
                f"`zorba-ray sweep … --sweep-dir {directory.path} --resume`"
            )
        failed = [trial for trial in state.trials if trial.status == "failed"]
        if failed:
            listing = "".join(
                f"\n  {trial.name}: {(trial.error or 'unknown').splitlines()[0]}\n"
                f"    config {directory.path / trial.run / 'config.resolved.json'}\n"
                f"    log    {directory.path / trial.log}"
                for trial in failed[:10]
            )
            raise SweepIncomplete(
                f"{len(failed)} of {len(state.trials)} trials failed, the others are whole; --resume tries them "
                f"again:{listing}"
            )
        return state

    def _needs(self, plan: TrialPlan) -> TrialNeeds:
        return trial_needs(plan.config, self._node)

    def _admit(self, plan: TrialPlan) -> None:
        """Refuses a trial that the whole cluster could not hold."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        require_room(plan.name, self._needs(plan), ray.cluster_resources(), nodes)

    def _admit_new(self, plan: TrialPlan) -> None:
        self._admit(plan)
        self._plans[plan.number] = plan

    def _payload(self, trial: TrialState) -> dict[str, Any]:
        plan = self._plans[trial.trial]
        return trial_payload(
            plan.number, plan.values, plan.config, self._needs(plan), self._directory.path.resolve(), trial.run,
            trial.log, self._command,
        )  # fmt: skip


def _private_gpus(needs: list[tuple[TrialPlan, TrialNeeds]]) -> int:
    """GPUs of a private Ray: the real ones, or logical ones for a few trials at a time."""
    real = [gpu_count(plan.config) for plan, need in needs if need.accelerator == "cuda"]
    return max(real) if real else _GPU_TRIALS * max(need.gpus for _, need in needs)


def _quiet() -> None:
    """Tune's own table, warnings and Ctrl-C handler stand aside: the sweep has its own."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    logging.getLogger("ray.tune").setLevel(logging.ERROR)


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['trial']:03d}"
