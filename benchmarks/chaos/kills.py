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
    command,
    ended,
    rounds_in,
    run_arguments,
    start,
    undisturbed,
)
from benchmarks.rows import Row

_START_S = 6.0
"""About as long as the program needs before its first round."""


def rows(quick: bool) -> list[Row]:
    """25 kills at random moments and five between a write and its sync; quick: three and two."""
    with undisturbed() as base, tempfile.TemporaryDirectory(prefix="zc-") as name:
        return [
            random_moments(base, Path(name), 3 if quick else 25),
            within_writes(base, Path(name), 2 if quick else 5),
        ]


def random_moments(base: Undisturbed, folder: Path, count: int) -> Row:
    """Every second time while the program starts, else after a random round."""
    tally, dice = Tally(base.digest), random.Random(6)
    for number in range(count):
        path = base.copy(folder / "run") if number % 3 else folder / "run"
        process = start(command(*run_arguments(path)))
        if number % 2:
            after_round(process, path, dice.randrange(rounds_in(path), ROUNDS))
            time.sleep(dice.uniform(0, 0.2))
        else:
            time.sleep(dice.uniform(0, _START_S))
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
