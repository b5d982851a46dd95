"""One session of a run, opened: model, data, ledger and assignments. A resumed run is a new session."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from zorba_ray.artifacts import (
    Eval,
    PartitionRecord,
    Provenance,
    Round,
    RunDir,
    append_record,
    cut_torn_tail,
    pinned,
    read_metrics,
    records_of,
    write_json,
    write_record,
)
from zorba_ray.assignment import AssignmentSchedule
from zorba_ray.config import ExperimentConfig, TrackingConfig
from zorba_ray.config.aggregation import SPREAD
from zorba_ray.experiment.build import Setup, build_host, prepare
from zorba_ray.experiment.evaluate import Evaluations, evaluation_order
from zorba_ray.experiment.patience import Patience
from zorba_ray.experiment.privacy import keys_of_reports, last_private_round, read_secret
from zorba_ray.experiment.provenance import hub_pins, provenance
from zorba_ray.experiment.recovery import Snapshots, check_header, repair_metrics
from zorba_ray.experiment.run_warnings import start_warnings
from zorba_ray.experiment.sampled_answers import AnswersFile
from zorba_ray.experiment.scope import resolved_scope
from zorba_ray.experiment.task_model import compute_device
from zorba_ray.experiment.tracking import Fanout, Monitor, WandbMonitor, resolve_mode
from zorba_ray.experiment.tracking.ray_metrics import ray_monitors
from zorba_ray.federation import ClientHost, Outliers
from zorba_ray.methods import Method, build_method
from zorba_ray.privacy import GaussianMechanism, Secret
from zorba_ray.protocol.ledger import LedgerContents, LedgerWriter, read_ledger
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.noise import noise_of, noise_section
from zorba_ray.protocol.replay import unpack_scalars
from zorba_ray.protocol.snapshot import newest_snapshot
from zorba_ray.stopwatch import Watch
from zorba_ray.tasks.reward_code import RewardCode

Emit = Callable[[dict[str, Any]], None]
"""Receives every metrics record, and {"kind": "status", "text": …} and {"kind": "note", …} between them."""


@dataclass(frozen=True)
class Journal:
    """Who hears of a run: metrics.jsonl always, then the trackers, then the caller."""

    metrics: Path
    """metrics.jsonl."""
    trackers: Fanout
    emit: Emit
    watch: Watch

    def log(self, record: Round | Eval) -> None:
        """One record of metrics.jsonl."""
        tree = record.tree()
        with self.watch.part("records"):
            append_record(self.metrics, record)
            self.trackers.log(tree)
        with self.watch.part("watchers"):
            self.emit(tree)

    def note(self, text: str) -> None:
        """A line for the user that stays."""
        self.emit({"kind": "note", "text": text})


@dataclass(frozen=True)
class Session:
    """What the rounds of a session need."""

    config: ExperimentConfig
    """With the scope that zo.scope=auto chose."""
    run: RunDir
    setup: Setup
    provenance: Provenance
    warnings: list[str]
    """Known before the first round."""
    host: ClientHost
    """Has the driver's replica, at θ0 until `catch_up`."""
    method: Method
    origin: dict[str, torch.Tensor]
    """θ0 of what the run can move, by name."""
    size: float
    """‖θ0‖ of the whole model."""
    writer: LedgerWriter
    contents: LedgerContents | None
    """The ledger as it was found; None: the run is new."""
    schedule: AssignmentSchedule
    snapshots: Snapshots
    journal: Journal
    evaluations: Evaluations
    watch: Watch
    patience: Patience
    outliers: Outliers | None
    """None where all reports count that pass the checks."""
    report_keys: Secret | None
    """Of the tags that reports must have; None: they have none."""
    private_until: int
    """The last round that `privacy.target_epsilon` allows; without privacy the last one of the settings."""
    began: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))
    """Wall and CPU seconds of the clocks."""

    def distance(self) -> float:
        """‖θ − θ0‖ of the driver's replica."""
        return self.setup.model.replica.distance(self.origin)

    @property
    def first_round(self) -> int:
        """The first round that is not in the ledger."""
        return 1 + (self.contents.last_round if self.contents else 0)


def open_session(
    config: ExperimentConfig,
    run: RunDir,
    accelerator: str,
    command: list[str],
    emit: Emit,
    watch: Watch,
    reward: RewardCode | None = None,
) -> Session:
    """Loads model and data and creates the ledger with its first assignment, or takes both up where they end.

    Nothing is written before the model's forward pairs and all settings have passed their checks. `reward` is as of
    `prepare`.

    Raises:
        ConfigError, DataError, ModelError, RewardError: as `prepare`.
        AllocationInfeasible: of a new run.
        LedgerError: the ledger is damaged or of another run, or its assignments are lost.
    """
    began = (time.perf_counter(), time.process_time())

    def say(text: str, kind: str = "status") -> None:
        emit({"kind": kind, "text": text})

    # The driver of a Ray run sees no GPU; in a sequential run the driver's replica is the clients' own.
    sequential = config.federation.backend == "sequential"
    device = compute_device(accelerator) if sequential else "cpu"
    hub = run.hub() if run.ledger.exists() else hub_pins(config)
    config = pinned(config, hub)
    if config.zo.scope == "auto":
        say("probing what to perturb")
        config, chosen = resolved_scope(config, run, device)
        say(chosen, "note")
    say("loading model and data")
    begun = None
    if run.ledger.exists():
        begun = read_ledger(run.ledger).header
        for fault in run.damaged().values():
            say(f"passed over and made anew: {fault}", "note")
    setup = prepare(config, device, watch, clients_here=sequential, accelerator=accelerator, reward=reward, begun=begun)
    if setup.prefix_note:
        say(setup.prefix_note, "note")
    warnings = start_warnings(setup)
    noise = noise_of(setup.header.sections)
    private_until = last_private_round(config, setup.fleet, noise)
    secret = read_secret(config, run)
    setup = _as_begun(_with_mark(setup, noise, secret), begun)
    size = setup.model.replica.size()
    origin = setup.model.replica.scoped_copy(config.zo.fixed_scope)
    host = build_host(config, setup.header, setup.model, watch, secret)
    method = build_method(config, host.state.rule, setup.manifest)
    info = provenance(run.provenance, command, hub)
    write_record(run.provenance, info)
    if hub and not run.ledger.exists():
        write_json(run.config, setup.config.resolved())
    writer, contents, schedule = _open_ledger(setup, run, say)
    write_record(run.partition, partition_record(setup))
    cut_torn_tail(run.metrics)
    answers = AnswersFile(run.answers, setup.sampled, evaluation_order(setup.test))
    journal = Journal(run.metrics, Fanout(_trackers(config.tracking, run, info.run_id)), emit, watch)
    return Session(
        config=config,
        run=run,
        setup=setup,
        provenance=info,
        warnings=warnings,
        host=host,
        method=method,
        origin=origin,
        size=size,
        writer=writer,
        contents=contents,
        schedule=schedule,
        snapshots=Snapshots(run.snapshots, method.commits, config.federation.snapshot_every, watch, journal.note),
        journal=journal,
        evaluations=Evaluations(setup, records_of(run.metrics, Eval), journal.log, watch, answers),
        watch=watch,
        patience=Patience(config.federation.patience, run.path),
        outliers=_outliers(config, contents),
        report_keys=keys_of_reports(config, run, secret),
        private_until=private_until,
        began=began,
    )


def _outliers(config: ExperimentConfig, contents: LedgerContents | None) -> Outliers | None:
    """Who was an outlier in the last reports of the ledger. A ledger of means does not say whose scalars were large."""
    if config.federation.aggregate == "mean" or config.spec.commits != "scalars":
        return None
    outliers = Outliers(config.federation.clients, config.federation.spread or SPREAD)
    if contents is not None:
        for commit in contents.commits():
            outliers.committed(*unpack_scalars(commit, contents.header))
    return outliers


def _open_ledger(
    setup: Setup, run: RunDir, say: Callable[..., None]
) -> tuple[LedgerWriter, LedgerContents | None, AssignmentSchedule]:
    """A new ledger, or the existing one with all that hangs on its position."""
    if not run.ledger.exists():
        say("solving the allocation")
        schedule = AssignmentSchedule.begin(setup, run.allocation)
        return LedgerWriter.create(run.ledger, setup.header), None, schedule
    whole = read_ledger(run.ledger)
    check_header(whole.header, setup.header, str(run.ledger))
    writer, contents = LedgerWriter.resume(run.ledger, _kept_until(run, whole))
    try:
        write_json(run.config, setup.config.resolved())
        last = contents.last_round
        if contents.torn_bytes:
            say(f"ledger: cut {contents.torn_bytes} bytes of a torn record after round {last}")
        if last < whole.last_round:
            say(f"ledger: cut back from round {whole.last_round} to {last}, the newest with a snapshot")
        repair_metrics(run, contents, lambda text: say(text, "note"))
        say(f"resuming after round {last}")
        schedule = AssignmentSchedule.resume(setup, run.allocation, contents, lambda text: say(text, "note"))
        return writer, contents, schedule
    except BaseException:
        writer.close()
        raise


def partition_record(setup: Setup) -> PartitionRecord:
    """Who has how many training rows of which label."""
    table, rows = setup.shards.table, setup.shards.rows
    labelled = setup.config.row_kind == "classification"
    labels = table.labels if labelled else np.zeros_like(table.labels)
    counts = [np.bincount(labels[rows[client]]) for client in rows.clients.tolist()]
    return PartitionRecord(
        labelled=labelled,
        clients=tuple({int(label): int(own[label]) for label in np.flatnonzero(own)} for own in counts),
    )


def _with_mark(setup: Setup, noise: GaussianMechanism | None, secret: Secret | None) -> Setup:
    """With the mark of the clients' secret in the ledger's header: a resume needs the same secret."""
    sections = setup.header.sections | noise_section(noise, secret)
    return dataclasses.replace(setup, header=msgspec.structs.replace(setup.header, sections=sections))


def _as_begun(setup: Setup, begun: LedgerHeader | None) -> Setup:
    """With the digest of settings that the run's ledger has, where since then only `rounds` was raised."""
    if begun is None or not setup.config.began_as(begun.config_sha256):
        return setup
    header = msgspec.structs.replace(setup.header, config_sha256=begun.config_sha256)
    return dataclasses.replace(setup, header=header)


def _kept_until(run: RunDir, contents: LedgerContents) -> int | None:
    """The last round whose tensors are at hand, for a method whose commits are tensors: a kill between a record and its
    snapshot costs that round, which is done again and gives the same bytes. Without any snapshot all rounds are."""
    if contents.header.commits != "tensors":
        return None
    snapshot = newest_snapshot(run.snapshots, contents)
    return snapshot.round if snapshot else 0


def _trackers(tracking: TrackingConfig, run: RunDir, run_id: str) -> list[Monitor]:
    """What the settings and this process call for beside metrics.jsonl; none is started."""
    mode = resolve_mode(tracking.wandb)
    if mode == "disabled":
        return ray_monitors()
    past = [record.tree() for record in read_metrics(run.metrics)] if run.metrics.exists() else []
    return [WandbMonitor(run.path, tracking, run_id, mode, past), *ray_monitors()]
