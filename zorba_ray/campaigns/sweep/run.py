"""Runs a sweep on Ray Tune: plans trials, refuses those that can never run, runs the others, keeps sweep.json up to
date.

Tune schedules and stops trials. It stores nothing that is needed later: sweep.json has the list of trials, and a
trial's ledger has its rounds.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune

from zorba_ray.artifacts import held
from zorba_ray.artifacts.campaigns import Sweep, Trial
from zorba_ray.campaigns.directory import CampaignDir
from zorba_ray.campaigns.sweep.optuna_source import OptunaSource, import_optuna
from zorba_ray.campaigns.sweep.plan import Pick, TrialPlan, make_trial, plan_trials, typical_trials
from zorba_ray.campaigns.sweep.resources import TrialNeeds, require_cluster_room, trial_needs
from zorba_ray.campaigns.sweep.schedule import make_scheduler
from zorba_ray.campaigns.sweep.state import add_trial, begin_sweep, resume_sweep
from zorba_ray.campaigns.sweep.trial import FederationTrial, trial_payload
from zorba_ray.campaigns.sweep.watch import PlannedSearch, SweepWatch
from zorba_ray.config import SweepConfig
from zorba_ray.errors import Interrupted
from zorba_ray.experiment.run import Closing
from zorba_ray.experiment.session import Emit
from zorba_ray.federation.accelerator import gpu_count
from zorba_ray.federation.ray_session import ray_session
from zorba_ray.tasks.reward_code import RewardCode

_GPU_TRIALS = 4
"""A private Ray has logical GPUs for this many trials at a time."""
_RETRIES = 2
"""How often a trial is started again after its process died; it goes on from its ledger."""


def run_sweep(
    sweep: SweepConfig,
    base: dict[str, Any],
    path: Path,
    resume: bool,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None = None,
    rewards: Mapping[str, RewardCode] | None = None,
) -> Sweep:
    """Runs all trials that are not finished. Returns the state, which is always in sweep.json, too.

    Args:
        base: settings of the run that is varied, from `load_sweep`.
        emit: receives {"kind": "trial", …}, {"kind": "status", "text": …} and at the end {"kind": "sweep", …}.
        closing: writes the report of a finished trial's run directory.
        rewards: the code of every `task.reward` that a trial may have, by its name.

    Raises:
        ConfigError: a trial's settings are refused, before anything runs.
        ClusterError: no Ray, or a trial that the cluster can never run, before anything runs.
        RunDirError: the directory exists, is in use, or belongs to another sweep.
        Interrupted: asked to stop; every trial can be resumed.
        SweepIncomplete: all trials ended, some of them failed.
        StorageError: sweep.json could not be written.
    """
    if sweep.search.type == "optuna":
        import_optuna()
        plans: dict[int, TrialPlan] = {}
        typical = typical_trials(sweep, base)
    else:
        plans = {plan.number: plan for plan in plan_trials(sweep, base)}
        typical = list(plans.values())
    if resume:
        CampaignDir.resume(path, Sweep)
    else:
        begin_sweep(path, sweep, base, command)
    with held(path, wait_s=15.0):  # read again: another process may have changed it while we waited
        if resume:
            directory = resume_sweep(path, sweep, base)
            for trial in directory.state.trials:
                if trial.rounds and trial.trial not in plans:  # it was proposed by Optuna
                    point = {key: Pick(*pick) for key, pick in trial.picks.items()}
                    plans[trial.trial] = make_trial(sweep, base, trial.trial, point)
        else:
            directory = begin_sweep(path, sweep, base, command)
            for plan in plans.values():
                add_trial(directory.state, plan)
        for folder in ("trials", "logs"):
            (path / folder).mkdir(exist_ok=True)
        watch = SweepWatch(directory, emit, should_stop)
        return _Sweep(sweep, base, directory, plans, typical, command, emit, closing, watch, rewards or {}).run()


@dataclass
class _Sweep:
    """One session of a sweep."""

    sweep: SweepConfig
    base: dict[str, Any]
    directory: CampaignDir[Sweep]
    plans: dict[int, TrialPlan]
    typical: list[TrialPlan]
    """Trials by which a private Ray is sized, and from which the longest is taken."""
    command: list[str]
    emit: Emit
    closing: Closing | None
    watch: SweepWatch
    rewards: Mapping[str, RewardCode]
    node: str | None = None
    """Ray's name of the node that trials are bound to."""

    def run(self) -> Sweep:
        state = self.directory.state
        state.status = "running"
        needs = [(plan, self._needs(plan)) for plan in self.typical]
        self.emit({"kind": "status", "text": "starting Ray"})
        with ray_session(max(need.cpus for _, need in needs), _private_gpus(needs)):
            if self.sweep.nodes == "driver":
                self.node = f"node:{ray.util.get_node_ip_address()}"
            for plan in self.plans.values():
                self._require_room(plan)
            self.directory.write()
            total = self.sweep.samples if self.sweep.search.type == "optuna" else len(state.trials)
            ended = sum(trial.status in ("finished", "stopped", "diverged") for trial in state.trials)
            self.emit({"kind": "plan", "trials": total, "ended": ended})
            self._tune()
        return self._conclude()

    def _tune(self) -> None:
        state, sweep, watch = self.directory.state, self.sweep, self.watch
        waiting = [trial for trial in state.trials if trial.status == "pending"]
        remaining = len(waiting)
        if sweep.search.type == "optuna":
            watch.source = OptunaSource(sweep, self.base, state, self._admit)
            remaining += max(0, sweep.samples - len(state.trials))
        if not remaining:
            return
        # Tune's table, warnings and Ctrl-C handler are switched off; the sweep has its own.
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        tuner = tune.Tuner(
            tune.with_parameters(FederationTrial, closing=self.closing, rewards=self.rewards),
            tune_config=tune.TuneConfig(
                search_alg=PlannedSearch(waiting, self._payload, watch),
                scheduler=make_scheduler(sweep, max(plan.config.rounds for plan in self.typical)),
                num_samples=remaining,
                max_concurrent_trials=sweep.concurrency,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=f"session-{state.sessions}",
                storage_path=str((self.directory.path / "tune").resolve()),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=_RETRIES),
                callbacks=[watch],
                stop=watch,
                verbose=0,
            ),
        )
        tuner.fit()

    def _conclude(self) -> Sweep:
        directory, state = self.directory, self.directory.state
        waiting = [trial for trial in state.trials if trial.status in ("pending", "running")]
        for trial in waiting:
            trial.status = "pending"
        short = self.sweep.search.type == "optuna" and len(state.trials) < self.sweep.samples
        state.status = "interrupted" if waiting or short else "finished"
        self.watch.write()
        if self.watch.broken is not None:
            raise self.watch.broken
        self.emit({"kind": "sweep", **state.tree()})
        if state.status == "interrupted":
            raise Interrupted(
                f"sweep stopped with {len(waiting)} trial(s) not finished; continue with "
                f"`zorba-ray sweep … --sweep-dir {directory.path} --resume`"
            )
        directory.require_whole(
            [
                (
                    trial.name,
                    trial,
                    f"\n    config {directory.path / trial.run / 'config.resolved.json'}"
                    f"\n    log    {directory.path / trial.log}",
                )
                for trial in state.trials
            ]
        )
        return state

    def _needs(self, plan: TrialPlan) -> TrialNeeds:
        return trial_needs(plan.config, self.node)

    def _require_room(self, plan: TrialPlan) -> None:
        """Refuses a trial that the whole cluster could not run."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        require_cluster_room(plan.name, self._needs(plan), ray.cluster_resources(), nodes)

    def _admit(self, plan: TrialPlan) -> Trial:
        """Adds a trial that was proposed while the sweep runs."""
        self._require_room(plan)
        self.plans[plan.number] = plan
        return add_trial(self.directory.state, plan)

    def _payload(self, trial: Trial) -> dict[str, Any]:
        plan = self.plans[trial.trial]
        return trial_payload(plan, trial, self._needs(plan), self.directory.path.resolve(), self.command)


def _private_gpus(needs: list[tuple[TrialPlan, TrialNeeds]]) -> int:
    """Number of GPUs of a private Ray: the real ones, or logical ones for _GPU_TRIALS trials at a time."""
    real = [gpu_count(plan.config) for plan, need in needs if need.accelerator == "cuda"]
    return max(real) if real else _GPU_TRIALS * max(need.gpus for _, need in needs)


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['trial']:03d}"
