"""One run: its rounds, from the first one that is not in the ledger to the last, and its summary."""

import contextlib
import dataclasses
import resource
import time
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from zorba_ray.artifacts import (
    CutRows,
    Eval,
    Round,
    RunDir,
    Summary,
    held,
    raise_storage_error,
    records_of,
    write_record,
)
from zorba_ray.artifacts.lease import require_owned
from zorba_ray.artifacts.metrics import AssignmentChange
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Interrupted, ZorbaError
from zorba_ray.experiment.backends import BACKENDS, BackendFactory
from zorba_ray.experiment.catch_up import catch_up, go_back, hold_best
from zorba_ray.experiment.evaluate import require_near
from zorba_ray.experiment.privacy import privacy_record
from zorba_ray.experiment.profile import round_profile
from zorba_ray.experiment.run_warnings import end_warnings
from zorba_ray.experiment.session import Emit, Session, open_session
from zorba_ray.experiment.summary import figures, round_record, status_of
from zorba_ray.experiment.tracking import resolve_mode
from zorba_ray.federation import Backend, Usage, run_round
from zorba_ray.federation.too_few import too_few_text
from zorba_ray.protocol.replay import unpack_scalars
from zorba_ray.protocol.states import ledger_body
from zorba_ray.stopwatch import watch_if
from zorba_ray.tasks.reward_code import RewardCode

Closing = Callable[[Path, bool], Path]
"""Writes the report of the run directory that it is given, with test rows or without; returns the file."""


def run_experiment(
    config: ExperimentConfig,
    run: RunDir,
    accelerator: str,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None = None,
    make_backend: BackendFactory | None = None,
    reward: RewardCode | None = None,
) -> dict[str, Any]:
    """Runs to the last round; returns summary.json, which is written however the run ends, if it can be.

    Args:
        closing: called with the run directory once the summary is written; its failure is a warning.
        make_backend: None is that of `federation.backend`.
        reward: the code of `task.reward`, as of `prepare`.

    Raises:
        ZorbaError: as documented for settings, data, model, allocation, clients and ledger; the ledger keeps every
            committed round.
        StorageError: a file of the run directory cannot be written, as on a full disk.
    """
    with contextlib.ExitStack() as resources:
        resources.enter_context(held(run.path, 15.0, lambda text: emit({"kind": "status", "text": text})))
        watch, session, backend = watch_if(config.tracking.profile), None, None
        try:
            with watch.part("start"):
                session = open_session(config, run, accelerator, command, emit, watch, reward)
                resources.callback(session.writer.close)
                catch_up(session)
                emit({"kind": "status", "text": "starting clients"})
                backend = (make_backend or BACKENDS[config.federation.backend])(session.setup, session.host, run)
                resources.callback(backend.close)
            with watch.part("rounds"):
                run_rounds(session, backend, should_stop)
            return finish(session, backend, "finished", None, closing)
        except BaseException as error:
            if session is not None:
                _finish_early(session, backend, error, closing)
            raise_storage_error(run.path, error)
            raise


def run_rounds(session: Session, backend: Backend, should_stop: Callable[[], bool]) -> None:
    """The rounds that are not in the ledger, each followed by an evaluation where one is due; then the test split, at
    θ of the round that is kept.

    Raises:
        Interrupted: asked to stop; the round in progress was finished first.
        Diverged: the evaluations are those of a model that was destroyed.
    """
    config, evaluations = session.config, session.evaluations
    for number in range(session.first_round, config.rounds + 1):
        if evaluations.end_early or number > session.private_until:
            break
        if should_stop():
            raise Interrupted(
                f"stopped after round {number - 1} of {config.rounds}; continue with "
                f"`zorba-ray run … --run-dir {session.run.path} --resume`"
            )
        one_round(session, backend, number)
        if evaluations.due(number):
            evaluations.make(number, "validation")
            hold_best(session)
            evaluations.require_a_model()
    last, best = session.host.state.round, evaluations.best_round
    if last < config.rounds and last == session.private_until and config.privacy is not None:
        evaluations.make(last, "validation")
        session.journal.note(
            f"ended after round {last} of {config.rounds}: another would spend more than privacy.target_epsilon="
            f"{config.privacy.target_epsilon:g}"
        )
    elif last < config.rounds:
        session.journal.note(
            f"ended after round {last} of {config.rounds}: eval.patience={config.eval.patience} evaluations in a row "
            f"without a better validation {config.eval.metric} than after round {best}"
        )
    if config.eval.keep == "best" and best < last:
        go_back(session, best)
    evaluations.make(session.host.state.round, "test")


def one_round(session: Session, backend: Backend, number: int) -> None:
    """Round t of the paper: assign, plan, ask, aggregate, commit, apply. Who is told of it hears when it counts."""
    schedule, method, state, part = session.schedule, session.method, session.host.state, session.watch.part
    start = time.perf_counter()

    # Who holds which blocks, and who is asked. Active sets travel only when they change.
    with part("assignment"):
        assignment = schedule.before(number, state.chain, backend.ask, session.journal.emit, session.watch)
    active, asked = schedule.active(number).packed, schedule.asked(number)
    plan = method.plan(number, state.chain, active if active != state.active.packed else None)
    if plan.active is not None:
        state.set_active(plan.active)

    # The clients' forward pairs, checked and aggregated to one commit.
    quorum = session.config.federation.quorum

    def judge(body: bytes) -> None:
        state.check(body, session.size)

    with part("aggregate"):
        spares, keys, outliers = schedule.spares(number), session.report_keys, session.outliers
        result = run_round(backend, method, plan, asked, quorum, judge, session.watch, spares, keys, outliers)
    session.patience.round_made(number, result.too_large, result.rejected)
    for client, reason in result.rejected.items():
        session.journal.note(f"round {number}: client {client} is left out: {reason}")
    clients = [report.client for report in result.reports]
    if text := too_few_text(session.config, clients, result.rejected, state.active):
        session.journal.note(f"round {number}: {text}")
    with part("records"):
        record = round_record(result, method.commits, schedule.present(number), peak_rss())
        if assignment is not None:
            change = msgspec.convert(assignment, AssignmentChange, from_attributes=True)
            record = msgspec.structs.replace(record, assignment=change)
        # The record waits aside until the round counts: a kill between ledger and metrics then loses nothing. A crash
        # of the machine may take it, with this round's loss; to sync it would take three times as long as the ledger.
        write_record(session.run.pending, record, synced=False)

    # The commit counts when it is in the ledger; only then does anybody apply it.
    committing = time.perf_counter()
    with part("ledger"):
        require_owned(session.run.path)
        session.writer.append(number, ledger_body(result.body, method.commits))
    committed = time.perf_counter()
    if outliers is not None:
        outliers.committed(*unpack_scalars(result.commit, session.setup.header))
    with part("send"):
        backend.apply(result.body)
    with part("apply"):
        state.apply(result.body)

    session.snapshots.before_telling(state)
    with part("distance"):
        distance = session.distance()
    applied = time.perf_counter()
    seconds = {
        "clients_s": result.clients_s,
        "aggregate_s": result.aggregate_s,
        "commit_s": committed - committing,
        "apply_s": applied - committed,
        "round_s": applied - start,
    }
    session.journal.log(msgspec.structs.replace(record, distance=distance, time=seconds))
    session.snapshots.after_telling(state)
    require_near(number, distance, session.size)


def finish(
    session: Session, backend: Backend | None, status: str, error: str | None, closing: Closing | None
) -> dict[str, Any]:
    """Writes and returns the summary, then profile and report.

    Args:
        backend: None where none was made.
    """
    run, setup, journal, usage, retries = session.run, session.setup, session.journal, [], 0
    if backend is not None:
        with contextlib.suppress(ZorbaError):
            usage, retries = backend.usage(), backend.retries()
    rounds, evals = records_of(run.metrics, Round), records_of(run.metrics, Eval)
    wall_s, cpu_s = session.began
    peaks = dict(ChainMap(*(dict(process.vram_peaks) for process in (session.host, *usage))))
    kept = session.host.state.round if status == "finished" else None
    # A round that did not come to its commit may have been asked for, too.
    asked = len(rounds) if status == "finished" else min(len(rounds) + 1, session.config.rounds)
    until_kept = [record for record in evals if kept is None or record.round <= kept]
    summary = Summary(
        status=status,
        error=error,
        cut_rows={split: CutRows(**dataclasses.asdict(cut)) for split, cut in setup.cuts.items()},
        warnings=(*session.warnings, *end_warnings(session.config, until_kept)),
        weights_sha256=setup.model.replica.digest(),
        kept_round=session.host.state.round,
        ledger_bytes=run.ledger.stat().st_size,
        peak_rss_bytes=max([peak_rss(), *(worker.peak_rss_bytes for worker in usage)]),
        workers=tuple(worker.figures for worker in usage),
        privacy=privacy_record(session.config, setup.fleet, session.host.state.rule.noise, asked),
        retries=retries,
        resumed_after_round=session.first_round - 1,
        wall_s=time.perf_counter() - wall_s,
        cpu_s=time.process_time() - cpu_s + sum(worker.cpu_s for worker in usage),
        **figures(session.config, session.schedule.record, rounds, until_kept, peaks, kept),
    )
    tree = summary.tree()
    write_record(run.summary, summary)
    if len(rounds) == session.writer.last_round:  # else it has the record that a full disk kept out of the metrics
        run.pending.unlink(missing_ok=True)
    _write_profile(session, usage)
    if closing is not None:  # a view of the run directory: its failure must not turn a finished run into a failed one
        try:  # W&B gets a copy of the page: test rows leave the run directory only when somebody sends them
            closing(run.path, resolve_mode(session.config.tracking.wandb) == "disabled")
        except Exception as failure:
            again = f"try `zorba-ray report {run.path}`"
            journal.note(f"warning: report.html could not be written ({failure}); {again}")
    for path, kind in ((run.ledger, "ledger"), (run.report, "report"), (run.summary, "summary")):
        if path.exists():
            journal.trackers.artifact(path, kind)
    for line in journal.trackers.finish(tree):
        journal.note(line)
    return tree


def _finish_early(session: Session, backend: Backend | None, error: BaseException, closing: Closing | None) -> None:
    """`finish` for a run that ends by `error`; what fails here must not hide it."""
    try:
        finish(session, backend, status_of(error), f"{type(error).__name__}: {error}", closing)
    except Exception as second:
        session.journal.note(f"warning: summary.json could not be written ({second})")


def _write_profile(session: Session, usage: list[Usage]) -> None:
    if (reading := session.watch.read()) is not None:
        elsewhere = None if session.config.federation.backend == "sequential" else usage
        profile = round_profile(reading, elsewhere, session.first_round, session.writer.last_round)
        write_record(session.run.profile, profile)
        session.journal.emit({"kind": "profile", **profile.tree()})


def peak_rss() -> int:
    """The most memory that this process held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
