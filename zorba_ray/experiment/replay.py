"""Replays a run: rebuilds θ from base weights and ledger in a new process."""

import time
from dataclasses import dataclass
from pathlib import Path

from zorba_ray.artifacts import RunDir, Summary, read_record, read_run_settings
from zorba_ray.config import ExperimentConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.errors import ConfigError, LedgerError, RunDirError
from zorba_ray.experiment.task_model import start_model
from zorba_ray.models import Replica
from zorba_ray.models import export as export_model
from zorba_ray.protocol.ledger import LedgerContents, read_ledger
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.protocol.snapshot import newest_snapshot, restore
from zorba_ray.protocol.states import TensorState, replica_state


@dataclass(frozen=True)
class Replayed:
    """The result of a replay."""

    round: int
    last_round: int
    digest: str
    confirmed: bool
    """Whether the run's summary has the same SHA-256 for this round."""
    ledger_bytes: int
    torn_bytes: int
    """Bytes of a record whose write was cut off, after the last round."""
    seconds: float
    """Time to apply the commits, without loading the model."""
    adapter: bool = False
    """Whether the export is a PEFT folder, with the adapters only."""
    remark: str | None = None
    """Why θ could not be compared with the summary; None if it was, or if there is no summary."""


@dataclass(frozen=True)
class RecordedRun:
    """A run directory, read for a replay."""

    run: RunDir
    config: ExperimentConfig
    contents: LedgerContents
    until: int | None
    """The round to rebuild; None: the last one in the ledger."""
    kept: int | None
    """The round of the summary's θ; None: no summary, or one that does not cover the whole ledger."""
    weights_sha256: str
    """SHA-256 of θ of that round; empty without one."""
    remark: str | None
    """Why θ cannot be compared with the summary; None if it can, or if there is no summary."""

    def rebuild(self, state: ReplicaState) -> None:
        """Moves a replica from θ0 to round `until`. If commits are tensors, a snapshot is loaded.

        Raises:
            LedgerError: a commit cannot be applied, or tensors have another SHA-256 than in the ledger.
            ConfigError: the tensors of this round are not kept.
        """
        if isinstance(state, TensorState):
            _from_snapshot(state, self.run, self.contents, self.until)
        else:
            state.catch_up(record.body for record in self.contents.records[: self.until])

    def confirm(self, round: int, digest: str) -> bool:
        """Whether the summary has this SHA-256 of θ; False if it has none of this round.

        Raises:
            LedgerError: it has another one.
        """
        if round != self.kept:
            return False
        if self.weights_sha256 != digest:
            raise LedgerError(
                f"the replay of {self.run.path} gives {digest}, its summary says {self.weights_sha256}: please report "
                "this as a defect of zorba-ray"
            )
        return True


def recorded_run(path: Path, until: int | None) -> RecordedRun:
    """Reads what a replay of `path` up to round `until` (None: the kept round) needs. Damage of the ledger behind
    `until` does not count.

    Raises:
        RunDirError, LedgerError: not a run; its settings are not those that the ledger began with; a damaged ledger;
            or, without `until`, fewer rounds than the run's summary counts.
        ConfigError: a round that is not in the ledger.
    """
    run = RunDir(path)
    config, unknown = read_run_settings(run.config)
    contents = read_ledger(run.ledger, until)
    began = contents.header.config_sha256
    if unknown:  # without them the digest cannot be compared
        raise RunDirError(
            f"{run.config} has settings that this program does not know: {', '.join(unknown)}. The file is damaged, or "
            "of a later version: put it back, or use the version of zorba-ray that began the run (provenance.json has "
            "it)"
        )
    if config.digest() != began and not config.began_as(began):
        raise RunDirError(
            f"{run.config}: these are not the settings that the ledger began with, so the file is damaged or was "
            "changed: put it back, or resume the run with its run file, which makes it anew"
        )
    if until is not None and until > contents.last_round:
        raise ConfigError(f"--round {until}: the ledger of {path} ends at round {contents.last_round}")
    summary, remark = _summary(run)
    if summary is None and until is None and config.eval.keep == "best":
        remark = f"{remark or 'there is no summary'}, so the best round is not known: this is the last round"
    if summary is not None and until is None and contents.last_round < summary.rounds_done:
        raise LedgerError(
            f"the ledger of {path} ends at round {contents.last_round}, its summary counts "
            f"{summary.rounds_done}: records were cut off, or the file is an older copy; put back the whole one, or "
            f"replay what is there with --round {contents.last_round}"
        )
    if contents.damage:
        remark = f"{contents.damage}; the rounds before it are good"
    kept, digest = None, ""
    if summary is not None and contents.last_round == summary.rounds_done:
        kept = summary.rounds_done if summary.kept_round is None else summary.kept_round
        until, digest = kept if until is None else until, summary.weights_sha256
    return RecordedRun(run, config, contents, until, kept, digest, remark)


def replay_run(path: Path, until: int | None, folder: Path | None, model: str | None, merged: bool = False) -> Replayed:
    """Replays the ledger of `path` up to round `until` (None: the kept round), and exports to `folder` if it is given.

    If the run trained only adapters (zo.scope=lora), they are exported in PEFT format, unless `merged`.

    If commits are tensors, the ledger has only their SHA-256. Then the newest snapshot is loaded and compared with it.

    Raises:
        RunDirError, LedgerError: as `recorded_run`; a ledger of another model; or tensors with another SHA-256.
        ConfigError: a round that is not in the ledger, or whose tensors are not kept, or a folder that is not empty.
    """
    recorded = recorded_run(path, until)
    config, contents = recorded.config, recorded.contents
    source = config.model if model is None else config.model.model_copy(update={"path": model})
    adapter = source.lora if folder is not None and contents.header.scope == "lora" and not merged else None
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--export {folder}: the folder exists and is not empty")
    loaded = start_model(config, source)
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
    """(the run's summary or None, the reason if summary.json exists and cannot be read). A replay works without it."""
    if not run.summary.exists():
        return None, None
    try:
        return read_record(run.summary, Summary), None
    except RunDirError as error:
        return None, f"{run.summary.name} is passed over, it is damaged: {error}"


def _from_snapshot(state: TensorState, run: RunDir, contents: LedgerContents, until: int | None) -> None:
    """Sets a replica to the newest snapshot. The SHA-256 of its tensors must be that in the ledger.

    Raises:
        ConfigError: there is no snapshot of round `until`.
        LedgerError: there is no snapshot, or its tensors have another SHA-256.
    """
    if until == 0 or not contents.records:
        return
    snapshot = newest_snapshot(run.snapshots, contents)
    if until is not None and (snapshot is None or snapshot.round != until):
        snapshot = newest_snapshot(run.best, contents, of_round=until) or snapshot
    if snapshot is None:
        raise LedgerError(
            f"{run.snapshots}: there is no snapshot of this ledger, and the tensors of the run are in no other file"
        )
    if until not in (None, snapshot.round):
        raise ConfigError(
            f"--round {until}: tensors are not in the ledger, and {contents.header.method} keeps only those of its "
            f"newest rounds; here only round {snapshot.round} can be replayed"
        )
    restore(state, snapshot)
    state.require(contents.records[snapshot.round - 1].body)
