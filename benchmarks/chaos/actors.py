"""Client actors are killed and stopped while a run goes on, and spare clients stand in. On a private Ray here."""

import math
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.alternate import at_most, judged
from benchmarks.chaos.program import CONFIG
from benchmarks.chaos.sabotage import Sabotage, run_with
from benchmarks.rows import Row, make_row
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.experiment.replay import replay_run
from zorba_ray.federation.ray_session import ray_session

DEVICE = "cpu, private Ray, actors of 1 thread"
EVERY = 5
"""Rounds from one kill to the next."""
LENGTHS = {"short": 2, "long": 40}
"""Rounds of two lengths: forward pairs of a client."""
DEADLINE_S = 20.0


def rows(quick: bool) -> list[Row]:
    """All rows of this file, on one Ray; quick has few rounds, and kills in short ones alone."""
    with tempfile.TemporaryDirectory(prefix="zc-") as name, ray_session(5, 4):
        folder = Path(name)
        lengths = ("short",) if quick else tuple(LENGTHS)
        kills = [row for length in lengths for row in killed(folder, length, 16 if quick else 200)]
        rounds = 8 if quick else 24
        return [*kills, *stopped(folder, "one", rounds), *stopped(folder, "half", rounds), *spares(folder, rounds)]


def settings(rounds: int, *more: str) -> ExperimentConfig:
    """The small run on two packed actors, evaluated at its start and end."""
    ray = ("federation.backend=ray", "federation.workers=2", "federation.deadline_s=300")
    return load_config(str(CONFIG), [f"rounds={rounds}", f"eval.every={rounds}", *ray, *more])


def killed(folder: Path, length: str, rounds: int, every: int = EVERY) -> list[Row]:
    """kill -9 of one of two actors in every fifth round, against the same run without kills."""
    config = settings(rounds, f"zo.directions={LENGTHS[length]}")
    calm, kills = Sabotage((), signal.SIGKILL), Sabotage(range(every, rounds, every), signal.SIGKILL)
    expected = run_with(config, folder / f"{length}-calm", calm.hear)
    summary = run_with(config, folder / f"{length}-killed", kills.hear)
    name = f"an actor killed every {every} of {rounds} rounds, {length} rounds"
    lost = summary["clients_failed"] + summary["clients_late"]
    details = {
        "kills": str(len(kills.hit)),
        "clients asked again": str(summary["retries"]),
        "seconds of a round": f"{_median(calm.seconds):.2f} without kills, {_median(kills.seconds):.2f} with",
        "longest round": f"{max(calm.seconds[1:]):.1f} s without kills, {max(kills.seconds[1:]):.1f} s with",
    }
    ratio = sum(kills.seconds[1:]) / sum(calm.seconds[1:])
    goal = at_most(1.5, "×") if rounds >= 200 else None  # a few rounds end before the first actor is back
    return [
        judged(f"{name}: time, with kills / without", [ratio], "×", goal, DEVICE, details),
        judged(f"{name}: reports lost", [lost], "", at_most(0), DEVICE),
        _same(name, summary["weights_sha256"], expected["weights_sha256"]),
    ]


def stopped(folder: Path, which: str, rounds: int) -> list[Row]:
    """SIGSTOP of one of two packed actors, or of half of four pinned ones, after round 2."""
    more = ("federation.mode=pinned",) if which == "half" else ()
    config = settings(rounds, f"federation.deadline_s={DEADLINE_S}", *more)
    stop = Sabotage((2,), signal.SIGSTOP, lambda actors: actors // 2)
    path = folder / f"stopped-{which}"
    summary = run_with(config, path, stop.hear)
    # The model is loaded and kernels are compiled in the first round.
    longest, *others = sorted(stop.seconds[1:], reverse=True)
    name = f"{which} of {2 * len(stop.hit)} actors stopped (SIGSTOP), deadline {DEADLINE_S:g} s"
    short = sum(count < 4 for count in stop.reports)
    details = {
        "rounds": f"{summary['rounds_done']} of {rounds}",
        "rounds without all reports": str(short),
        "seconds of the next longest rounds": ", ".join(f"{value:.2f}" for value in others[:3]),
        "median": f"{_median(stop.seconds):.2f} s",
    }
    found = replay_run(path, None, None, None).digest
    whole = sum(value >= DEADLINE_S for value in stop.seconds[1:])
    return [
        judged(f"{name}: longest round", [longest], "s", at_most(DEADLINE_S + 1, " s"), DEVICE, details),
        judged(f"{name}: rounds that took the whole deadline", [whole], "", at_most(1), DEVICE),
        # Packed, the other actors have its clients from then on.
        *([judged(f"{name}: rounds without all reports", [short], "", at_most(1), DEVICE)] if which == "one" else []),
        _same(f"{name}, replayed", found, summary["weights_sha256"]),
    ]


def spares(folder: Path, rounds: int) -> list[Row]:
    """Four of eight pinned clients are asked and two spare ones; an actor is stopped after round 2.

    Without spare clients, the round would lose a report.
    """
    fleet = ("federation.clients=8", "federation.mode=pinned", "federation.participants=4", "federation.spares=2")
    config = settings(rounds, f"federation.deadline_s={DEADLINE_S}", *fleet)
    stop = Sabotage((2,), signal.SIGSTOP)
    path = folder / "spares"
    summary = run_with(config, path, stop.hear)
    name = "4 clients and 2 spare ones asked, an actor stopped (SIGSTOP)"
    details = {"reports used, round by round": " ".join(map(str, stop.reports))}
    found = replay_run(path, None, None, None).digest
    return [
        judged(f"{name}: longest round", [max(stop.seconds[1:])], "s", at_most(DEADLINE_S / 2, " s"), DEVICE, details),
        judged(f"{name}: rounds with fewer than 4 reports", [sum(count < 4 for count in stop.reports)], "", at_most(0)),
        _same(f"{name}, replayed", found, summary["weights_sha256"]),
    ]


def _same(name: str, found: str, expected: str) -> Row:
    return make_row(f"{name}: other SHA-256", [float(found != expected)], "", "0", found == expected, DEVICE)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else math.nan
