"""One run: prepare, allocate, rounds, evaluation, summary. Starts anew or goes on from the ledger."""

import contextlib
import dataclasses
import resource
import time
from collections import ChainMap
from collections.abc import Callable
from typing import Any

from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import Diverged, Interrupted, ZorbaError
from zorba_ray.experiment.backends import BackendFactory, sequential_backend
from zorba_ray.experiment.build import build_host, compute_device, prepare
from zorba_ray.experiment.callbacks import Closing, Emit, close_report
from zorba_ray.experiment.divergence import divergence
from zorba_ray.experiment.evaluate import Evaluator
from zorba_ray.experiment.monitors import monitors
from zorba_ray.experiment.opening import bring_up, open_ledger
from zorba_ray.experiment.profile import round_profile
from zorba_ray.experiment.provenance import provenance
from zorba_ray.experiment.recovery import records_of
from zorba_ray.experiment.round_record import round_record
from zorba_ray.experiment.run_warnings import end_warnings, start_warnings
from zorba_ray.experiment.rundir import RunDir, raise_storage_error, write_json
from zorba_ray.experiment.scope import resolved_scope
from zorba_ray.experiment.snapshots import Snapshots
from zorba_ray.experiment.summary import status_of, summarise
from zorba_ray.experiment.tracking import Fanout, JsonlMonitor
from zorba_ray.federation import Usage, run_round
from zorba_ray.methods import build_method
from zorba_ray.protocol.states import ledger_body
from zorba_ray.stopwatch import watch_if


def run_experiment(
    config: ExperimentConfig,
    run: RunDir,
    make_backend: BackendFactory,
    accelerator: str,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None = None,
) -> dict[str, Any]:
    """Runs to the last round; returns summary.json, which is written however the run ends, if it can be.

    Args:
        closing: called with the run directory once the summary is written; its failure is a warning.

    Raises:
        ZorbaError: as documented for settings, data, model, allocation, clients and ledger; the ledger keeps every
            committed round.
        StorageError: a file of the run directory cannot be written, as on a full disk.
    """
    run.lock(wait_s=15.0)
    try:
        experiment = _Experiment(config, run, make_backend, accelerator, command, emit, should_stop, closing)
        try:
            with experiment.watch.part("start"):
                experiment.start()
            with experiment.watch.part("rounds"):
                experiment.rounds()
            return experiment.finish("finished", None)
        except BaseException as error:
            if experiment.started:
                experiment.finish_early(error)
            raise_storage_error(run.path, error)
            raise
        finally:
            experiment.close()
    finally:
        run.unlock()


class _Experiment:
    """State of one session of a run; a resumed run is a new session."""

    def __init__(
        self,
        config: ExperimentConfig,
        run: RunDir,
        make_backend: BackendFactory,
        accelerator: str,
        command: list[str],
        emit: Emit,
        should_stop: Callable[[], bool],
        closing: Closing | None,
    ) -> None:
        self.config = config
        self.run = run
        self._make_backend = make_backend
        self._accelerator = accelerator
        self._command = command
        self._emit = emit
        self._should_stop = should_stop
        self._closing = closing
        self._clock = (time.perf_counter(), time.process_time())
        self.watch = watch_if(config.tracking.profile)
        self._resources = contextlib.ExitStack()
        self.started = False

    def start(self) -> None:
        """Model, data, allocation, ledger, replica at the ledger's end, workers."""
        config, run = self.config, self.run
        sequential = self._make_backend is sequential_backend
        # The driver of a Ray run sees no GPU; in a sequential run the driver's replica is the clients' own.
        device = compute_device(self._accelerator) if sequential else "cpu"
        if config.zo.scope == "auto":
            self._say("probing what to perturb")
        config, chosen = resolved_scope(config, run, device)
        self.config = config
        if chosen is not None:
            self._note(chosen)
        self._say("loading model and data")
        self.setup = setup = prepare(config, device, self.watch, sequential, self._accelerator)
        self._warnings = start_warnings(setup, self._accelerator)
        origin = setup.model.replica.scoped_copy(config.zo.fixed_scope)
        self._distance = lambda: setup.model.replica.distance(origin)
        info = provenance(run.provenance, self._command)
        write_json(run.provenance, info)
        self._opened = open_ledger(setup, run, self._accelerator, self._say, self._note)
        self._writer = self._opened.writer
        self._resources.callback(self._writer.close)
        self._deals = self._opened.deals
        self._first_round = self._opened.first_round
        if not self._deals.provisional:
            self._emit({"kind": "allocation", **self._deals.record})
        self._jsonl = JsonlMonitor(run.metrics)
        evaluated = records_of(run, "eval")
        self._evaluated = {(record["round"], record["split"]) for record in evaluated}
        self._judged = sorted((r for r in evaluated if r["split"] == "validation"), key=lambda r: r["round"])
        self._fanout = Fanout(monitors(config.tracking, run, info))
        self._host = build_host(config, setup.header, setup.model, self.watch)
        if sequential:
            self._host.load_shards(setup.shards)
        self._method = build_method(config, self._host.state.rule, setup.model.replica.manifest)
        every = config.federation.snapshot_every
        self._snapshots = Snapshots(run.snapshots, self._method.commits, every, self.watch, self._note)
        self._validation = Evaluator(setup.model, "validation", setup.validation, config.eval.batch_size)
        self._test = Evaluator(setup.model, "test", setup.test, config.eval.batch_size)
        self.started = True
        self._fanout.start(config.resolved(), info)
        self._fanout.artifact(run.allocation, "allocation")
        for text in self._warnings:
            self._note(f"warning: {text}")
        self._evaluate(0, self._validation, self._test)
        bring_up(self._host.state, run, self._opened, self._note)
        if self._first_round > 1 and self._due(self._first_round - 1):
            self._evaluate(self._first_round - 1, self._validation)
        self._require_a_model()
        self._say("starting clients")
        self._backend = self._make_backend(setup, self._host, self._deals.record, run)
        self._resources.callback(self._backend.close)

    def rounds(self) -> None:
        """From the first uncommitted round to the last.

        Raises:
            Interrupted: asked to stop; the round in progress was finished first.
        """
        for number in range(self._first_round, self.config.rounds + 1):
            if self._should_stop():
                raise Interrupted(
                    f"stopped after round {number - 1} of {self.config.rounds}; continue with "
                    f"`zorba-ray run … --run-dir {self.run.path} --resume`"
                )
            self._round(number)
            if self._due(number):
                self._evaluate(number, self._validation)
                self._require_a_model()
        self._evaluate(self.config.rounds, self._test)

    def _round(self, number: int) -> None:
        start = time.perf_counter()
        config, state = self.config, self._host.state
        with self.watch.part("deal"):
            deal = self._deals.before(number, state.chain, self._backend.ask, self._emit, self.watch)
        asked = self._deals.asked(number)
        active = self._deals.packed(number)
        plan = self._method.plan(number, state.chain, active if active != state.active.packed else None)
        if plan.active is not None:
            state.set_active(plan.active)
        part = self.watch.part
        with part("aggregate"):
            result = run_round(
                self._backend, self._method, plan, asked, config.federation.quorum, state.check, self.watch
            )
        for client, reason in result.rejected.items():
            self._note(f"round {number}: client {client} is left out: {reason}")
        with part("records"):
            record = round_record(result, self._method.commits, self._deals.present(number), self._peak_rss())
            if deal is not None:
                record["deal"] = {key: deal[key] for key in ("reason", "f1", "f2_bytes", "clients_changed")}
            # The record waits aside until the round counts: a kill between ledger and metrics then loses nothing.
            write_json(self.run.pending, record)
        committing = time.perf_counter()
        with part("ledger"):
            self._writer.append(number, ledger_body(result.body, self._method.commits))
        committed = time.perf_counter()
        with part("send"):
            self._backend.apply(result.body)
        with part("apply"):
            state.apply(result.body)
        self._snapshots.before_telling(state)
        with part("distance"):
            record["distance"] = self._distance()
        applied = time.perf_counter()
        record["time"] = {
            "clients_s": result.clients_s,
            "aggregate_s": result.aggregate_s,
            "commit_s": committed - committing,
            "apply_s": applied - committed,
            "round_s": applied - start,
        }
        self._log(record)
        self._snapshots.after_telling(state)

    def _evaluate(self, round: int, *evaluators: Evaluator) -> None:
        """Evaluates unless this round's record exists from an earlier session."""
        for evaluator in evaluators:
            if (round, evaluator.split) not in self._evaluated:
                with self.watch.part("evaluation"):
                    record = evaluator.record(round)
                self._log(record)
                if evaluator is self._validation:
                    self._judged.append(record)
                self._evaluated.add((round, evaluator.split))

    def _require_a_model(self) -> None:
        """Raises Diverged: the last evaluations are those of a model that was destroyed."""
        if (text := divergence(self._judged)) is not None:
            raise Diverged(f"{text}; begin anew with a smaller {self.config.spec.steps_in}.lr")

    def _due(self, number: int) -> bool:
        return number % self.config.eval.every == 0 or number == self.config.rounds

    def _log(self, record: dict[str, Any]) -> None:
        with self.watch.part("records"):
            self._jsonl.log(record)
            self._fanout.log(record)
        with self.watch.part("watchers"):
            self._emit(record)

    def _say(self, text: str) -> None:
        self._emit({"kind": "status", "text": text})

    def _note(self, text: str) -> None:
        self._emit({"kind": "note", "text": text})

    def _peak_rss(self) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def finish(self, status: str, error: str | None) -> dict[str, Any]:
        """Writes and returns the summary."""
        backend = getattr(self, "_backend", None)
        usage: list[Usage] = []
        retries = 0
        rounds, evals = records_of(self.run, "round"), records_of(self.run, "eval")
        if backend is not None:
            with contextlib.suppress(ZorbaError):
                usage, retries = backend.usage(), backend.retries()
        summary = summarise(
            self.config,
            self._deals.record,
            rounds,
            evals,
            {
                "status": status,
                "error": error,
                "cut_rows": {split: dataclasses.asdict(cut) for split, cut in self.setup.cuts.items()},
                "warnings": [*self._warnings, *end_warnings(self.config, evals)],
                "weights_sha256": self.setup.model.replica.digest(),
                "ledger_bytes": self.run.ledger.stat().st_size,
                "peak_rss_bytes": max([self._peak_rss(), *(worker.peak_rss_bytes for worker in usage)]),
                "workers": [worker.figures for worker in usage],
                "vram_peaks": dict(ChainMap(*(dict(one.vram_peaks) for one in (self._host, *usage)))),
                "retries": retries,
                "resumed_after_round": self._first_round - 1,
                "wall_s": time.perf_counter() - self._clock[0],
                "cpu_s": time.process_time() - self._clock[1] + sum(worker.cpu_s for worker in usage),
            },
        )
        write_json(self.run.summary, summary)
        if len(rounds) == self._writer.last_round:  # else it has the record that a full disk kept out of the metrics
            self.run.pending.unlink(missing_ok=True)
        if (reading := self.watch.read()) is not None:
            apart = None if self._make_backend is sequential_backend else usage
            profile = round_profile(reading, apart, self._first_round, self._writer.last_round)
            write_json(self.run.profile, profile)
            self._emit({"kind": "profile", **profile})
        close_report(self._closing, self.run.path, self._note)
        for path, kind in ((self.run.ledger, "ledger"), (self.run.report, "report"), (self.run.summary, "summary")):
            if path.exists():
                self._fanout.artifact(path, kind)
        for line in self._fanout.finish(summary):
            self._note(line)
        return summary

    def finish_early(self, error: BaseException) -> None:
        """`finish` for a run that ends by `error`; what fails here must not hide it."""
        try:
            self.finish(status_of(error), f"{type(error).__name__}: {error}")
        except Exception as second:
            self._note(f"warning: summary.json could not be written ({second})")

    def close(self) -> None:
        """Ends workers and closes the ledger."""
        self._resources.close()
