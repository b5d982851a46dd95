"""Rows from runs: accuracy under attack beside the same run without one, and what an aggregation costs the honest."""

from collections.abc import Sequence
from statistics import median

from benchmarks.adversaries.arms import NAMED, SEEDS, Arm
from benchmarks.rows import Row, make_row, not_run
from zorba_ray.artifacts import Run

_DEVICE = "cpu, 1 thread"
_POINTS, _LOST, _TIME = 3.0, 1.0, 1.03
_BESIDE = {"clip_spread": "mean", "median": "shared mean", "trimmed_mean": "shared mean", "krum": "shared mean"}
"""Aggregation -> the mean that it is held against, with the same directions."""


def attack_row(arm: Arm) -> Row:
    """Points of test accuracy that an attack costs; its least and greatest value are over the seeds."""
    goal = (
        f"≤ {_POINTS:g} points lost" + (", named" if arm.attack in NAMED else "") if arm.promised else "none promised"
    )
    pairs = [(arm.read(seed), arm.honest.read(seed)) for seed in SEEDS]
    ended = [(own, honest) for own, honest in pairs if own is not None and _ended(own) and honest and _finished(honest)]
    done = [(own, honest) for own, honest in ended if _finished(own)]
    name = f"{arm.name}: points of test accuracy"
    died = [own for own, _ in ended if not _finished(own)]
    if not done:
        return not_run(name, "points", goal, f"{len(died)} of {len(ended)} runs diverged" if died else "not run")
    points = [100 * (_accuracy(own) - _accuracy(honest)) for own, honest in done]
    told = [_named(own, arm.hostile) for own, _ in done]
    met = None
    if arm.promised:
        met = not died and median(points) >= -_POINTS and (arm.attack not in NAMED or all(told))
    details = {
        "accuracy": ", ".join(f"{_accuracy(own):.3f} ({_accuracy(honest):.3f} without)" for own, honest in done),
        "hostile clients named": f"in {sum(told)} of {len(told)} runs, honest ones in "
        f"{sum(_honest_named(own, arm.hostile) for own, _ in done)}",
    }
    if died:
        details["not among these"] = f"{len(died)} of {len(ended)} runs, which diverged"
    return make_row(name, points, "points", goal, met, _DEVICE, details)


def honest_rows(arms: Sequence[Arm]) -> list[Row]:
    """What each aggregation costs where all are honest: points of accuracy, and time beside the mean."""
    made = []
    for arm in (each for each in arms if each.attack is None and len(each.hostile) == 1):
        runs = [run for seed in SEEDS if (run := arm.read(seed)) is not None and _finished(run)]
        if not runs:
            made.append(not_run(f"{arm.name}: test accuracy", "", "none", "not run"))
            continue
        named = {"honest clients named": f"in {sum(_honest_named(run, ()) for run in runs)} of {len(runs)} runs"}
        accuracies = [_accuracy(run) for run in runs]
        made.append(make_row(f"{arm.name}: test accuracy", accuracies, "", "none", None, _DEVICE, named))
        if arm.aggregation in _BESIDE:
            made += _beside(arm, runs)
    return made


def _beside(arm: Arm, runs: Sequence[Run]) -> list[Row]:
    mean = Arm(_BESIDE[arm.aggregation])
    pairs = [(own, other) for own in runs if (other := mean.read(own.config.seed)) is not None and _finished(other)]
    if not pairs:
        return []
    name = f"{arm.aggregation} beside {mean.aggregation}, all honest"
    points = [100 * (_accuracy(own) - _accuracy(other)) for own, other in pairs]
    times = [1 + (_server_seconds(own) - _server_seconds(other)) / _round_seconds(other) for own, other in pairs]
    goal, met = f"≤ {_LOST:g} point lost", median(points) >= -_LOST
    what = {"what is compared": "checks, aggregation and update; the clients' work is the same"}
    goal_s, met_s = f"≤ {_TIME:g} ×", median(times) <= _TIME
    return [
        make_row(f"{name}: points of test accuracy", points, "points", goal, met, _DEVICE),
        make_row(f"{name}: time of a round", times, "×", goal_s, met_s, _DEVICE, what),
    ]


def _ended(run: Run) -> bool:
    return run.status in ("finished", "diverged")


def _finished(run: Run) -> bool:
    return run.status == "finished"


def _accuracy(run: Run) -> float:
    """On the test split, of a finished run."""
    accuracy = run.split("test")[-1].accuracy
    assert accuracy is not None
    return accuracy


def _named(run: Run, hostile: Sequence[int]) -> bool:
    """Whether each of these was left out by name in some round."""
    return set(hostile) <= {client for record in run.rounds for client in record.rejected}


def _honest_named(run: Run, hostile: Sequence[int]) -> bool:
    return bool({client for record in run.rounds for client in record.rejected} - set(hostile))


def _server_seconds(run: Run) -> float:
    """Median seconds of a round's checks, aggregation and update: what an aggregation can change."""
    return median(record.time["aggregate_s"] + record.time["apply_s"] for record in run.rounds if record.time)


def _round_seconds(run: Run) -> float:
    return median(record.time["round_s"] for record in run.rounds if record.time)
