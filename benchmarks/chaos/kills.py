"""kill -9 of the whole program, from its start to its end, and within a write: each time it resumes to the same θ."""

import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.chaos.faulty_calls import environment
from benchmarks.chaos.program import (
    ROUNDS,
    Tally,
    Undisturbed,
    after_round,
    call_forked,
    command,
    ended,
    rounds_in,
    run_arguments,
    start,
    undisturbed,
)
from benchmarks.rows import Row
from zorba_ray.protocol.ledger import read_ledger


def rows(quick: bool) -> list[Row]:
    """25 kills at random moments, five between a write and its sync, and one before each sync and rename of a run and
    of a repair; quick: three, two, and one in nine."""
    with undisturbed() as base, tempfile.TemporaryDirectory(prefix="zc-") as name:
        return [
            random_moments(base, Path(name), 3 if quick else 25),
            within_writes(base, Path(name), 2 if quick else 5),
            before_each_sync(base, Path(name), 9 if quick else 1),
            in_repair(base, Path(name), 9 if quick else 1),
        ]


def random_moments(base: Undisturbed, folder: Path, count: int) -> Row:
    """Every second time while the program starts, else after a random round."""
    tally, dice, start_s = Tally(base.digest), random.Random(6), 0.0
    for number in range(count):
        path, began = base.copy(folder / "run") if number % 3 else folder / "run", time.monotonic()
        process = start(command(*run_arguments(path)))
        if number % 2 or not start_s:
            after_round(process, path, dice.randrange(rounds_in(path), ROUNDS))
            start_s = time.monotonic() - began
            time.sleep(dice.uniform(0, 0.2))
        else:
            time.sleep(dice.uniform(0, start_s))
        process.send_signal(signal.SIGKILL)
        end = ended(process)
        tally.resumed(path, f"kill {number} (exit code {end.code}, after round {rounds_in(path)})")
        shutil.rmtree(path)
    return tally.row(f"program: {count} kill -9 at random moments, then --resume", may_refuse=False)


def within_writes(base: Undisturbed, folder: Path, count: int) -> Row:
    """Killed while it waits between a write and its sync."""
    tally, dice = Tally(base.digest), random.Random(7)
    for number in range(count):
        path, mark = base.copy(folder / "run"), folder / "paused"
        process = start(command(*run_arguments(path)), environment(folder, pause_at=dice.randrange(1, 12)))
        end_s = time.monotonic() + 120
        while not mark.exists() and process.poll() is None and time.monotonic() < end_s:
            time.sleep(0.01)
        if not mark.exists():
            tally.other.append(f"kill {number}: no write to stop at: {ended(process).text[-300:]}")
        process.send_signal(signal.SIGKILL)
        ended(process)
        mark.unlink(missing_ok=True)
        tally.resumed(path, f"kill {number} before a sync")
        shutil.rmtree(path)
    return tally.row(f"program: {count} kill -9 between a write and its sync, then --resume", may_refuse=False)


def before_each_sync(base: Undisturbed, folder: Path, every: int) -> Row:
    """A new run kills itself before its first sync or rename, the next one before its second, and so on until one ends
    before that. Quick ones leave some out."""
    tally, number, path = Tally(base.digest), 1, folder / "run"
    while (end := call_forked(*run_arguments(path), die_at=number)).code:
        if end.code != -signal.SIGKILL:
            tally.other.append(f"call {number}: exit code {end.code}: {end.text[-300:]}")
        tally.resumed(path, f"killed before call {number}")
        shutil.rmtree(path, ignore_errors=True)
        number += every
    shutil.rmtree(path)
    return tally.row("program: killed before each sync and rename, then --resume", may_refuse=False)


def in_repair(base: Undisturbed, folder: Path, every: int) -> Row:
    """`zorba-ray repair` kills itself before its first sync or rename, and so on; a second repair does the rest."""
    tally, number, path = Tally(base.digest), 1, folder / "run"
    while True:
        base.copy(path)
        cut = read_ledger(path / "ledger.zl").records[3].offset
        data = (path / "ledger.zl").read_bytes()
        (path / "ledger.zl").write_bytes(data[:cut] + bytes(len(data) - cut))
        if not call_forked("repair", path, die_at=number).code:
            break
        second = call_forked("repair", path)
        if second.code:
            tally.other.append(f"call {number}: the second repair ended with {second.code}: {second.text[-300:]}")
        tally.resumed(path, f"repair killed before call {number}")
        shutil.rmtree(path)
        number += every
    shutil.rmtree(path)
    return tally.row("repair: killed before each sync and rename, then repair and --resume", may_refuse=False)
