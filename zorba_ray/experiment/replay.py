"""A run's θ, rebuilt from base weights and ledger in a fresh process."""

import time
from dataclasses import dataclass
from pathlib import Path

from zorba_ray.artifacts import RunDir, Summary, read_record, read_run_settings
from zorba_ray.config import ExperimentConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import ConfigError, LedgerError, RunDirError
from zorba_ray.models import Replica, load_model
from zorba_ray.models import export as export_model
from zorba_ray.protocol.ledger import LedgerContents, read_ledger
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.protocol.snapshot import newest_snapshot, restore
from zorba_ray.protocol.states import TensorState, replica_state


@dataclass(frozen=True)
class Replayed:
    """Outcome of a replay."""

    round: int
    last_round: int
    digest: str
    confirmed: bool
    """The run's summary names the same digest for this round."""
    ledger_bytes: int
    torn_bytes: int
    """Bytes of a record whose write was cut off, after the last round."""
    seconds: float
    """Of applying the commits alone."""
    adapter: bool = False
    """What was exported is a folder of PEFT with the adapters alone."""
    remark: str | None = None
    """Why the summary could not be asked; None where it was, or is not there."""


@dataclass(frozen=True)
class RecordedRun:
    """A run directory with what a replay needs of it."""

    run: RunDir
    config: ExperimentConfig
    contents: LedgerContents
    until: int | None
    """The round to rebuild; None: the last one in the ledger."""
    kept: int | None
    """The round whose θ the summary names; None: there is no summary of all of the ledger."""
    weights_sha256: str
    """Of that round; empty without one."""
    remark: str | None
    """Why the summary could not be asked; None where it was, or is not there."""

    def rebuild(self, state: ReplicaState) -> None:
        """Moves a replica from θ0 to the round that is asked for; where commits are tensors, by a snapshot.

        Raises:
            LedgerError: a commit cannot be applied, or tensors are not those that the ledger names.
            ConfigError: the tensors of this round are not kept.
        """
        if isinstance(state, TensorState):
            _from_snapshot(state, self.run, self.contents, self.until)
        else:
            state.catch_up(record.body for record in self.contents.records[: self.until])

    def confirm(self, round: int, digest: str) -> bool:
        """Whether the summary names this SHA-256 of θ; False where it names none of this round.

        Raises:
            LedgerError: it names another one.
        """
        if round != self.kept:
            return False
        if self.weights_sha256 != digest:
            raise LedgerError(
                f"replay of {self.run.path} gives {digest}, its summary says {self.weights_sha256}: report this as a "
                "defect"
            )
        return True


def recorded_run(path: Path, until: int | None) -> RecordedRun:
    """Reads what a replay of `path` up to round `until` (None: the one that is kept) needs.

    Raises:
        RunDirError, LedgerError: not a run, or a damaged ledger, or, where all rounds are asked for, fewer than the
            run's summary counts.
        ConfigError: a round beyond the ledger.
    """
    run = RunDir(path)
    config, _ = read_run_settings(run.config)
    contents = read_ledger(run.ledger)
    if until is not None and until > contents.last_round:
        raise ConfigError(f"--round {until}: the ledger of {path} ends at round {contents.last_round}")
    summary, remark = _summary(run)
    if summary is None and until is None and config.eval.keep == "best":
        remark = f"{remark or 'there is no summary'}: which round is kept is not known, this is the last one"
    if summary is not None and until is None and contents.last_round < summary.rounds_done:
        raise LedgerError(
            f"the ledger of {path} ends at round {contents.last_round}, its summary counts "
            f"{summary.rounds_done}: records were cut off, or the file is an older copy; put back the whole one, or "
            f"replay what is there with --round {contents.last_round}"
        )
    kept, digest = None, ""
    if summary is not None and contents.last_round == summary.rounds_done:
        kept = summary.rounds_done if summary.kept_round is None else summary.kept_round
        until, digest = kept if until is None else until, summary.weights_sha256
    return RecordedRun(run, config, contents, until, kept, digest, remark)


def replay_run(path: Path, until: int | None, folder: Path | None, model: str | None, merged: bool = False) -> Replayed:
    """Replays the ledger of `path` up to round `until` (None: the one that is kept) and exports to `folder` if given.

    Where the run moved adapters alone (zo.scope=lora), they are exported as PEFT has them, unless `merged`.

    Where commits are tensors the ledger has their SHA-256 alone: the newest snapshot is restored and held against it.

    Raises:
        RunDirError, LedgerError: as `recorded_run`, or a ledger of another model, or tensors that it does not name.
        ConfigError: a round beyond the ledger, or one whose tensors are not kept, or a folder that exists.
    """
    recorded = recorded_run(path, until)
    config, contents = recorded.config, recorded.contents
    source = config.model if model is None else config.model.model_copy(update={"path": model})
    adapter = source.lora if folder is not None and contents.header.scope == "lora" and not merged else None
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--export {folder}: the folder exists and is not empty")
    loaded = load_model(source)
    replica = Replica(loaded)
    state = replica_state(replica, cpu_directions(config.directions.backend), contents.header)
    start = time.perf_counter()
    recorded.rebuild(state)
    seconds = time.perf_counter() - start
    digest = replica.digest()
    confirmed = recorded.confirm(state.round, digest)
    if folder is not None:
        export_model(replica, loaded, folder, adapter)
    return Replayed(
        round=state.round,
        last_round=contents.last_round,
        digest=digest,
        confirmed=confirmed,
        ledger_bytes=recorded.run.ledger.stat().st_size,
        torn_bytes=contents.torn_bytes,
        seconds=seconds,
        adapter=adapter is not None,
        remark=recorded.remark,
    )


def _summary(run: RunDir) -> tuple[Summary | None, str | None]:
    """The run's summary, and why there is none where a file is there: it is a view, and a replay does without."""
    if not run.summary.exists():
        return None, None
    try:
        return read_record(run.summary, Summary), None
    except RunDirError as error:
        return None, f"{run.summary.name} is passed over, it is damaged: {error}"


def _from_snapshot(state: TensorState, run: RunDir, contents: LedgerContents, until: int | None) -> None:
    """Brings a replica at θ0 to the newest snapshot, whose tensors must be those that the ledger names.

    Raises:
        ConfigError: it is of another round than `until`.
        LedgerError: there is none, or its tensors are others.
    """
    if until == 0 or not contents.records:
        return
    snapshot = newest_snapshot(run.snapshots, contents)
    if until is not None and (snapshot is None or snapshot.round != until):
        snapshot = newest_snapshot(run.best, contents, of_round=until) or snapshot
    if snapshot is None:
        raise LedgerError(f"{run.snapshots}: no snapshot of this ledger, and the tensors of the run are nowhere else")
    if until not in (None, snapshot.round):
        raise ConfigError(
            f"--round {until}: tensors are not in the ledger, and {contents.header.method} keeps those of its newest "
            f"rounds alone; here that is round {snapshot.round}"
        )
    restore(state, snapshot)
    state.require(contents.records[snapshot.round - 1].body)
