"""Repairs a damaged run directory, or takes a run back to an earlier round on purpose.

The ledger decides. Flipped bits are put back where its hash chain confirms it. Else the ledger is cut before the first
damaged record; the rounds that are lost are computed again by a resume, which gives the same bytes. The other files are
made to fit the ledger. What is changed is copied first, and what is removed is kept with these copies.
"""

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from zorba_ray.artifacts import RunDir, Summary, held, read_metrics, read_record, write_record
from zorba_ray.artifacts.answers import SampledAnswers
from zorba_ray.artifacts.metrics import Round, damaged_lines
from zorba_ray.assignment.allocation_file import allocation_until, read_allocation, write_allocation
from zorba_ray.errors import ConfigError, LedgerError, RunDirError, StorageError
from zorba_ray.experiment.recovery import repair_metrics
from zorba_ray.printable import listed
from zorba_ray.protocol.files import cut, private, sync_folder
from zorba_ray.protocol.flipped_bits import healed
from zorba_ray.protocol.ledger import LedgerContents, scan_ledger
from zorba_ray.protocol.snapshot import checked_snapshots


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file, and what a repair does about it."""

    file: Path
    text: str
    """A sentence without the file's name."""
    remedy: str
    removed: bool = False
    """The file is removed after it was copied."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a run directory. Nothing was changed."""

    run: RunDir
    contents: LedgerContents
    """The ledger as it will be."""
    flipped: tuple[int, ...]
    """Bits of the ledger to be put back."""
    faults: tuple[Fault, ...]
    lost: range
    """The rounds that are known to have been done and are not in `contents`."""
    lost_s: float
    """Seconds that they took, as far as metrics.jsonl says."""


def diagnose(path: Path, rollback_to: int | None = None) -> Diagnosis:
    """Looks at every file of a run directory.

    Args:
        rollback_to: the ledger is to end with this round; None: where it is good.

    Raises:
        RunDirError: not a run directory.
        LedgerError: the ledger is missing, or its header is damaged.
        ConfigError: the ledger has no round `rollback_to`, or the tensors of this round are not kept.
    """
    run = RunDir(path)
    if not path.is_dir() or not (run.config.exists() or run.ledger.exists()):
        raise RunDirError(f"{path} is not a run directory: it has neither settings nor a ledger")
    data, bits = healed(run.ledger)
    whole, flipped = scan_ledger(run.ledger, data), tuple(bits)
    if rollback_to is not None and rollback_to > whole.last_round:
        raise ConfigError(f"--rollback-to {rollback_to}: the good part of the ledger ends at round {whole.last_round}")
    contents = whole if rollback_to is None else whole.up_to(rollback_to)
    if rollback_to and contents.header.commits == "tensors":
        _require_tensors(run, contents)
    rounds, damaged = _metrics(run)
    done = max([whole.last_round, _rounds_done(run), *(record.round for record in rounds)])
    lost = range(contents.last_round + 1, done + 1)
    seconds = sum(record.time.get("round_s", 0.0) for record in rounds if record.round in lost)
    shorter = bool(lost) or contents.last_round < whole.last_round or whole.damage is not None
    faults = (
        *_ledger_faults(run, whole, contents, flipped),
        *_other_faults(run, contents, damaged, shorter),
    )
    return Diagnosis(run, contents, flipped, faults, lost, seconds)


def repair_run(path: Path, rollback_to: int | None = None) -> tuple[Diagnosis, Path | None]:
    """Does what `diagnose` says. Returns (diagnosis, folder with copies of what was changed; None: nothing was).

    Raises:
        RunDirError: as `diagnose`, or another process uses the directory.
        LedgerError, ConfigError: as `diagnose`.
        StorageError: a copy or a file cannot be written. What has no copy was not changed.
    """
    if not path.is_dir():
        raise RunDirError(f"{path}: no such run directory")
    with held(path):
        diagnosis = diagnose(path, rollback_to)
        changed = [fault for fault in diagnosis.faults if fault.file != diagnosis.run.config]
        if not changed:
            return diagnosis, None
        names = (f"before-repair-{number}" for number in itertools.count(1))
        copies = next(path / name for name in names if not (path / name).exists())
        try:
            copies.mkdir(0o700)
            for file in dict.fromkeys(fault.file for fault in changed if not fault.removed):
                _copy(file, copies / file.name)
            sync_folder(copies)
            sync_folder(path)
            _change(diagnosis, changed, copies)
        except OSError as error:
            raise StorageError(
                f"{path}: {error.strerror or error}: a repair needs room for copies of what it changes, and a folder "
                "that can be written. Make room and repair again; nothing was changed that has no copy"
            ) from error
        return diagnosis, copies


def _change(diagnosis: Diagnosis, changed: Sequence[Fault], copies: Path) -> None:
    """The ledger first: after a kill here a second repair does the rest."""
    run = diagnosis.run
    for bit in diagnosis.flipped:
        _flip(run.ledger, bit)
    cut(run.ledger, diagnosis.contents.size)
    for fault in changed:
        if fault.removed:
            aside = copies / fault.file.relative_to(run.path)
            aside.parent.mkdir(0o700, exist_ok=True)
            fault.file.replace(aside)
    edited = {fault.file for fault in changed if not fault.removed}
    if run.answers in edited:
        known = read_record(run.answers, SampledAnswers)
        rows = tuple(msgspec.structs.replace(row, after=None) for row in known.rows)
        write_record(run.answers, msgspec.structs.replace(known, round=None, rows=rows))
    if run.allocation in edited:
        allocation = allocation_until(run.allocation, diagnosis.contents.last_round)
        chain = diagnosis.contents.chain_after(allocation.assignments[-1].round - 1)
        write_allocation(run.allocation, allocation, chain)
    repair_metrics(run, diagnosis.contents, lambda text: None)


def _metrics(run: RunDir) -> tuple[list[Round], list[int]]:
    """(the rounds of metrics.jsonl, its damaged lines). With damaged lines its rounds are not read."""
    damaged = damaged_lines(run.metrics) if run.metrics.exists() else []
    if damaged or not run.metrics.exists():
        return [], damaged
    return [record for record in read_metrics(run.metrics) if isinstance(record, Round)], []


def _rounds_done(run: RunDir) -> int:
    """As summary.json counts; 0 without one."""
    try:
        return read_record(run.summary, Summary).rounds_done
    except RunDirError:
        return 0


def _require_tensors(run: RunDir, contents: LedgerContents) -> None:
    number = contents.last_round
    kept = [each.round for _, each in checked_snapshots(run.snapshots, contents) if not isinstance(each, str)]
    if number not in kept:
        raise ConfigError(
            f"--rollback-to {number}: tensors are not in the ledger, and {contents.header.method} keeps those of its "
            f"newest rounds alone; at or before this round there are {listed(sorted(kept)) or 'none'}"
        )


def _ledger_faults(
    run: RunDir, whole: LedgerContents, contents: LedgerContents, flipped: tuple[int, ...]
) -> Iterator[Fault]:
    for bit in flipped:
        yield Fault(run.ledger, f"offset {bit // 8}: a flipped bit", "put back; the hash chain confirms it")
    if whole.damage:
        text = _without_name(whole.damage, run.ledger)
        yield Fault(run.ledger, text, f"cut after round {whole.last_round}, the last one that the chain confirms")
    elif whole.torn_bytes:
        yield Fault(run.ledger, f"{whole.torn_bytes} bytes of a record that was cut off", "cut")
    if contents.last_round < whole.last_round:
        yield Fault(run.ledger, f"{whole.last_round} rounds", f"cut after round {contents.last_round}, as asked")


def _other_faults(run: RunDir, contents: LedgerContents, damaged: list[int], shorter: bool) -> Iterator[Fault]:
    anew = "removed; a resume makes it anew"
    faults = run.damaged()
    for file, text in faults.items():
        text = _without_name(text, file)
        if file == run.config:
            yield Fault(file, text, "left as it is; a resume with the run file makes it anew")
        elif file == run.answers:
            yield Fault(file, text, "removed; answers before training are lost", removed=True)
        else:
            yield Fault(file, text, anew, removed=True)
    for file in (run.summary, run.pending, run.report):
        if shorter and file.exists() and file not in faults:
            yield Fault(file, "of rounds that are not in the ledger", anew, removed=True)
    if damaged:
        yield Fault(run.metrics, f"damaged lines: {listed(damaged)}", "left out; their rounds are read from the ledger")
    elif shorter and run.metrics.exists():
        yield Fault(run.metrics, "has rounds that are not in the ledger", "their records are taken out")
    if run.answers.exists() and run.answers not in faults:
        round = read_record(run.answers, SampledAnswers).round
        if round is not None and round > contents.last_round:
            yield Fault(
                run.answers, f"has answers after round {round}, which is not in the ledger", "they are taken out"
            )
    if run.allocation.exists():
        yield from _allocation_faults(run, contents)
    for folder in (run.snapshots, run.best):
        for file, snapshot in checked_snapshots(folder, contents):
            if isinstance(snapshot, str):
                yield Fault(file, snapshot, "removed", removed=True)


def _allocation_faults(run: RunDir, contents: LedgerContents) -> Iterator[Fault]:
    try:
        read_allocation(run.allocation, contents)
    except (LedgerError, RunDirError):
        try:
            allocation_until(run.allocation, contents.last_round)
        except (LedgerError, RunDirError) as error:
            anew = "removed; a resume reads the assignments from the ledger"
            yield Fault(run.allocation, _without_name(error, run.allocation), anew, removed=True)
        else:
            yield Fault(run.allocation, "has assignments of rounds that are not in the ledger", "they are taken out")


def _without_name(text: object, file: Path) -> str:
    return str(text).removeprefix(str(file)).lstrip(": ")


def _copy(file: Path, to: Path) -> None:
    """A synced copy that is open to its owner alone."""
    with file.open("rb") as old, open(to, "xb", opener=private) as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(bit // 8)
        value = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([value ^ 1 << bit % 8]))
        os.fsync(file.fileno())
