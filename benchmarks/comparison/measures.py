"""Rows of the comparisons from its comparisons, and the goals that they are held against."""

import math
from collections.abc import Callable, Mapping
from statistics import fmean

from benchmarks.comparison.shape import BYTES_OPT
from benchmarks.comparison.tasks import AG_NEWS, BANKING77, BYTES, CB, RIVALS, SST2, TREC, TREC_SHORT, TREC_SKEWED
from benchmarks.rows import Row, make_row, not_run
from zorba_ray.artifacts import Run
from zorba_ray.config.aggregation import participant_count
from zorba_ray.report.comparison import ComparisonRecord
from zorba_ray.report.measures import FIGURES, final_loss, passes_at
from zorba_ray.tables import Spread

_DEVICE = "cpu, 1 thread"
_ABSENT = "not run, or no data or model"

Figure = Callable[[Run], float | None]


def task_rows(found: Mapping[str, ComparisonRecord | None]) -> list[Row]:
    """All rows; those whose comparison or method is missing have no figures.

    Args:
        found: name of a task -> its comparison.
    """
    trec, short, skewed = (found.get(task.name) for task in (TREC, TREC_SHORT, TREC_SKEWED))
    rows = [_accuracy(trec, "zorba", "TREC, 1,000 forward pairs of a client", "≥ 0.90 (start 0.574)", 0.90)]
    for where, record in (("TREC, 1,000 pairs", trec), ("TREC, 150 pairs", short)):
        rows += [_lead(record, rival, where) for rival in RIVALS]
        rows.append(_passes(record, where, 0.6))
    rows += [_lost(trec, skewed, method) for method in ("zorba", "decomfl")]
    for task, where, goal in (
        (SST2, "SST-2, 2,000 pairs", 8.0),
        (AG_NEWS, "AG News, 2,000 pairs", 8.0),
        (BANKING77, "BANKING77, 1,000 pairs", None),
        (CB, "CB, 1,000 pairs", None),
    ):
        rows.append(_gained(found.get(task.name), where, goal))
    wide = _against_fedit(found.get(BYTES_OPT.name), "a round on OPT-125M's shape", lambda _: 1.0)
    return [*rows, *_bytes(found.get(BYTES.name)), wide]


def quick_rows(record: ComparisonRecord | None) -> list[Row]:
    """Of the built-in task."""
    assert record is not None
    looks = [_accuracy(record, one.method, "built-in, quick", "none, a look", None) for one in record.results]
    return [*looks, _passes(record, "built-in, quick", None), *_bytes(record)]


def _accuracy(record: ComparisonRecord | None, method: str, where: str, goal: str, least: float | None) -> Row:
    values = list(by_seed(record, method, FIGURES["test_accuracy"]).values())
    return _row(
        f"{where}: test accuracy, {method}", values, "", goal, lambda: None if least is None else least <= fmean(values)
    )


def _lead(record: ComparisonRecord | None, rival: str, where: str) -> Row:
    """How far zorba's final loss is below a rival's, seed by seed, with the mean's 95 % interval in the name."""
    gaps = paired(by_seed(record, rival, final_loss), by_seed(record, "zorba", final_loss))
    name, goal = f"{where}: final loss, {rival} minus zorba", "above 0 by more than its 95 % interval"
    interval = Spread.of(gaps)
    if interval is None or interval.half is None:
        return _row(name, gaps, "nats", goal, lambda: None)
    mean, half = interval.mean, interval.half
    return _row(f"{name} (mean {mean:.4f} ± {half:.4f})", gaps, "nats", goal, lambda: mean > half)


def _passes(record: ComparisonRecord | None, where: str, most: float | None) -> Row:
    """Zorba's passes to decomfl's final loss of the same seed, as a share of all of decomfl's.

    A seed that never gets there counts as one evaluation beyond zorba's last round.
    """
    shares = []
    own, other = _runs(record, "zorba"), _runs(record, "decomfl")
    for seed in own.keys() & other.keys():
        run, rival, target = own[seed], other[seed], final_loss(other[seed])
        reached = None if target is None else rounds_to(run, target)
        rounds = run.config.rounds + run.config.eval.every if reached is None else int(reached)
        shares.append(passes_at(run, rounds) / passes_at(rival, rival.config.rounds))
    name = f"{where}: zorba's forward passes to decomfl's final loss, share of decomfl's"
    goal = "none, a look" if most is None else f"≤ {most:g}"
    return _row(name, shares, "", goal, lambda: None if most is None else fmean(shares) <= most)


def _lost(even: ComparisonRecord | None, skewed: ComparisonRecord | None, method: str) -> Row:
    """Points of test accuracy that uneven labels and half of the participants cost."""
    found = [100 * gap for gap in paired(*(by_seed(one, method, FIGURES["test_accuracy"]) for one in (even, skewed)))]
    name = f"TREC, α 0.1 and half of the clients against α 1 and all: points of test accuracy lost, {method}"
    goal = "≤ 5" if method == "zorba" else "none, for comparison"
    return _row(name, found, "points", goal, lambda: fmean(found) <= 5 if method == "zorba" else None)


def _gained(record: ComparisonRecord | None, where: str, least: float | None) -> Row:
    ends, starts = (by_seed(record, "zorba", figure) for figure in (FIGURES["test_accuracy"], _start_accuracy))
    found = [100 * gap for gap in paired(ends, starts)]
    goal = "none" if least is None else f"≥ {least:g}"
    name = f"{where}: points of test accuracy gained, zorba"
    return _row(name, found, "points", goal, lambda: None if least is None else fmean(found) >= least)


def _bytes(record: ComparisonRecord | None) -> list[Row]:
    """Encoded frames of a client, up and down."""
    return [
        _against_decomfl(record),
        _against_fedit(record, "a round", lambda _: 1.0),
        _against_fedit(record, "a forward pass", lambda run: passes_at(run, 1)),
        _fedkseed(record),
    ]


def _against_decomfl(record: ComparisonRecord | None) -> Row:
    """Zorba's round against decomfl's with as many directions and the other participants' scalars."""
    name = "bytes of a round, up and down: zorba, of decomfl's with the other participants' scalars"
    shares = []
    own, other = _runs(record, "zorba"), _runs(record, "decomfl")
    for seed in own.keys() & other.keys():
        mine, theirs, federation = own[seed].config.zo, other[seed].config.zo, own[seed].config.federation
        scalars = mine.directions * mine.local_steps
        # A scalar travels up and down once; per-client directions add those of the others on the way down.
        more = 8 * (scalars - theirs.directions * theirs.local_steps)
        others = 4 * scalars * (participant_count(federation.clients, federation.participants) - 1)
        shares.append(_per_round(own[seed]) / (_per_round(other[seed]) + more + others))
    return _row(name, shares, "", "≤ 1", lambda: max(shares) <= 1)


def _against_fedit(record: ComparisonRecord | None, each: str, share: Callable[[Run], float]) -> Row:
    """Bytes of a round over `share` of it."""
    name = f"bytes of {each}, up and down: fedit's, of zorba's"
    own, other = _runs(record, "zorba"), _runs(record, "fedit")
    found = own.keys() & other.keys()
    ratios = [
        _per_round(other[seed]) / share(other[seed]) / (_per_round(own[seed]) / share(own[seed])) for seed in found
    ]
    return _row(name, ratios, "×", "≥ 1e4", lambda: min(ratios) >= 1e4)


def _fedkseed(record: ComparisonRecord | None) -> Row:
    """The pool's sums go down and a client's go up."""
    name = "bytes of a round, up and down: fedkseed, of 4 + 4 pool + 8 steps"
    shares = [
        _per_round(run) / (4 + 4 * run.config.method_settings.model_dump()["pool"] + 8 * run.config.zo.local_steps)
        for run in _runs(record, "fedkseed").values()
    ]
    return _row(
        name, shares, "", "within 1 % of 1", lambda: all(math.isclose(one, 1.0, rel_tol=0.01) for one in shares)
    )  # fmt: skip


def _row(name: str, values: list[float], unit: str, goal: str, met: Callable[[], bool | None]) -> Row:
    return make_row(name, values, unit, goal, met(), _DEVICE) if values else not_run(name, unit, goal, _ABSENT)


def _runs(record: ComparisonRecord | None, method: str) -> dict[int, Run]:
    standing = next((one for one in record.results if one.method == method), None) if record else None
    return dict(standing.runs) if standing else {}


def by_seed(record: ComparisonRecord | None, method: str, figure: Figure) -> dict[int, float]:
    """Seed -> figure of the method's finished runs that have it; empty without a comparison."""
    found = {seed: figure(run) for seed, run in _runs(record, method).items()}
    return {seed: value for seed, value in found.items() if value is not None}


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Differences of the seeds that both have."""
    return [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]


def _start_accuracy(run: Run) -> float | None:
    found = run.split("test")
    return found[0].accuracy if found and found[0].round == 0 else None


def _per_round(run: Run) -> float:
    """Bytes of a client, up and down."""
    summary = run.summary
    ways = (summary.bytes_up_per_client_round, summary.bytes_down_per_client_round) if summary else ()
    return math.fsum(way for way in ways if way is not None)


def rounds_to(run: Run, level: float) -> float | None:
    """The first evaluated round with a validation loss at or below `level`; None: never."""
    return next((float(record.round) for record in run.split("validation") if record.loss <= level), None)
