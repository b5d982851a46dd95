"""Resuming a run: checks the ledger's header, repairs metrics.jsonl by the ledger, and writes snapshots."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError

from zorba_ray.artifacts import Round, RunDir, append_record, keep_rounds, read_record, records_of
from zorba_ray.errors import LedgerError, RunDirError, StorageError
from zorba_ray.printable import listed
from zorba_ray.protocol.ledger import LedgerContents
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.replay import ReplicaState, unpack_scalars
from zorba_ray.protocol.snapshot import write_snapshot
from zorba_ray.stopwatch import Watch

_REMEDY = {
    "weights_sha256": "model.path has other weights",
    "manifest_sha256": "model.path has a model of another shape",
    "config_sha256": "settings that change results differ",
    "partition_sha256": "the examples are divided among the clients in another way",
    "data_sha256": "data.path has other examples, or the tokenizer differs",
    "directions": "this version of zorba-ray draws other directions",
}


def check_header(header: LedgerHeader, expected: LedgerHeader, name: str) -> None:
    """Checks that a ledger belongs to this model, data and configuration.

    Raises:
        LedgerError: it does not; names every field that differs, with both values.
    """
    faults = []
    for field in LedgerHeader.__struct_fields__:
        old, new = getattr(header, field), getattr(expected, field)
        if field == "sections" and old.get("reward") != new.get("reward"):
            faults.append(
                "section reward: the file of task.reward is not the one that the run began with: put it back as it "
                "was, or begin a new run"
            )
            old, new = ({name: part for name, part in each.items() if name != "reward"} for each in (old, new))
        if field == "sections" and old.get("privacy") != new.get("privacy"):
            faults.append(
                "section privacy: other noise, or another secret of the clients: put secret.key back as the run made "
                "it, or begin a new run"
            )
            old, new = ({name: part for name, part in each.items() if name != "privacy"} for each in (old, new))
        if old != new:
            faults.append(
                f"{field}: ledger {str(old)[:24]}, here {str(new)[:24]} ({_REMEDY.get(field, 'settings differ')})"
            )
    if faults:
        raise LedgerError(
            f"{name} belongs to another run:\n  "
            + "\n  ".join(faults)
            + "\nrestore what the run began with, or start a new run in another directory"
        )


def repair_metrics(run: RunDir, contents: LedgerContents, note: Callable[[str], None]) -> None:
    """Makes metrics.jsonl have every round of the ledger exactly once, and no others.

    A record that was lost in a kill, or is damaged, is taken from pending.json; if it is not there, from the ledger,
    without its loss.

    Args:
        note: is called with a sentence if lines are damaged.
    """
    if run.metrics.exists() and (damaged := keep_rounds(run.metrics, contents.last_round)):
        note(
            f"metrics.jsonl: damaged lines are left out ({listed(damaged)}); their rounds are read from the ledger, "
            "which has no losses"
        )
    present = {record.round for record in records_of(run.metrics, Round)}
    missing = [record for record in contents.records if record.round not in present]
    if not missing:
        return
    pending = None
    with suppress(RunDirError):  # there is no such file, or it cannot be read
        pending = read_record(run.pending, Round)
    for record, commit in zip(contents.records, contents.commits(), strict=True):
        if record.round in present:
            continue
        if pending is not None and pending.round == record.round:
            append_record(run.metrics, msgspec.structs.replace(pending, recovered=True))
            continue
        scalars, reported = None, len(commit.clients) // 4
        if contents.header.commits in ("scalars", "mean"):
            reported = len(unpack_scalars(commit, contents.header)[0])
            scalars = np.frombuffer(commit.scalars, dtype="<f4").astype("f8")
        commit_bytes = len(record.body) - len(commit.active or b"")
        recovered = Round(
            round=record.round,
            lr=commit.lr,
            scalar_rms=None if scalars is None else float((scalars**2).mean() ** 0.5),
            scalar_mean=None if scalars is None else float(scalars.mean()),
            clients_ok=None if contents.header.commits == "mean" else reported,
            # With commits of tensors the ledger has only their SHA-256, so the size of the message is not known.
            commit_bytes=None if contents.header.commits == "tensors" else commit_bytes,
            recovered=True,
        )
        append_record(run.metrics, recovered)


class Snapshots:
    """Writes the snapshots of a session, and handles errors of writing."""

    def __init__(
        self, folder: Path, commits: str, every: int | None, watch: Watch, note: Callable[[str], None]
    ) -> None:
        """`commits`: `LedgerHeader.commits`; `every`: `federation.snapshot_every`."""
        self._folder, self._watch, self._note = folder, watch, note
        self._alone = commits == "tensors"
        self._every = every

    def before_telling(self, state: ReplicaState) -> None:
        """Writes a snapshot before the round is reported, if the tensors are in no other file (commits of tensors).

        Raises:
            StorageError: it cannot be written; a resume then does the round again.
        """
        if not self._alone:
            return
        try:
            self._write(state)
        except (OSError, SafetensorError) as error:
            raise StorageError(
                f"{self._folder}: the tensors of round {state.round} cannot be written ({error}), and they are in no "
                "other file: free some space, then continue with --resume, which does the round again"
            ) from error

    def after_telling(self, state: ReplicaState) -> None:
        """Writes a snapshot after every `every` rounds. It only saves time on a resume, so an error is only a note."""
        if self._alone or self._every is None or state.round % self._every:
            return
        try:
            self._write(state)
        except (OSError, SafetensorError) as error:
            self._note(f"warning: the snapshot of round {state.round} cannot be written ({error}); the run goes on")

    def _write(self, state: ReplicaState) -> None:
        with self._watch.part("snapshots"):
            write_snapshot(self._folder, state)
