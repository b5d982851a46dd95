"""Rows of the contest from its comparisons, and the goals that they are held against."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

from benchmarks.contest.tasks import AG_NEWS, BANKING77, BUILTIN, RIVALS, SST2, TREC, TREC_SKEWED
from benchmarks.rows import Row, make_row, not_run
from zorba_ray.contest.records import Contest, Estimate
from zorba_ray.contest.results import difference
from zorba_ray.report import RunRecord, load_run

_DEVICE = "cpu, 1 thread"
_ABSENT = "no data, model or method"


def task_rows(found: Mapping[str, Contest], quick: bool, folder: Path) -> list[Row]:
    """All rows; those whose comparison or method is missing have no figures.

    Args:
        found: name of a task -> its comparison.
        folder: where the comparisons' directories are.
    """
    if quick:
        state, path = found[BUILTIN.name], folder / BUILTIN.name
        return [
            *(_accuracy_row(state, one.method, "built-in, quick", "none, a look") for one in state.contestants),
            *_bytes_rows(state),
            _passes_row(state, path, "built-in, quick", None),
        ]
    trec, skewed = found.get(TREC.name), found.get(TREC_SKEWED.name)
    rows = [
        _accuracy_row(trec, "zorba", "TREC, 1,000 forward pairs of a client", "≥ 0.90 (start 0.574)", 0.90),
        *(_lead_row(trec, rival) for rival in RIVALS),
        _passes_row(trec, folder / TREC.name, "TREC", 0.6),
    ]
    for method in ("zorba", "decomfl"):
        rows.append(_skew_row(trec, skewed, method))
    for task, name, goal in (
        (SST2, "SST-2, 2,000 pairs", 8.0),
        (AG_NEWS, "AG News, 2,000 pairs", 8.0),
        (BANKING77, "BANKING77, 1,000 pairs", None),
    ):
        rows.append(_gain_row(found.get(task.name), name, goal))
    return [*rows, *(_bytes_rows(trec) if trec else [])]


def _accuracy_row(state: Contest | None, method: str, where: str, goal: str, least: float | None = None) -> Row:
    name = f"{where}: test accuracy, {method}"
    found = figure(state, method, "test_accuracy")
    if found is None or found.mean is None:
        return not_run(name, "", goal, _ABSENT)
    return make_row(
        name, list(found.values.values()), "", goal, None if least is None else found.mean >= least, _DEVICE
    )


def _lead_row(state: Contest | None, rival: str) -> Row:
    """How far zorba's final loss is below a rival's, seed by seed."""
    name, goal = f"TREC: final loss, {rival} minus zorba", "above 0 by more than its 95 % interval"
    one, other = figure(state, rival, "final_loss"), figure(state, "zorba", "final_loss")
    if one is None or other is None or not (found := difference(one, other)).values:
        return not_run(name, "nats", goal, _ABSENT)
    half = "no interval" if found.half is None else f"mean {found.mean:.4f} ± {found.half:.4f}"
    met = None if found.half is None else found.apart and (found.mean or 0.0) > 0
    return make_row(f"{name} ({half})", list(found.values.values()), "nats", goal, met, _DEVICE)


def _passes_row(state: Contest | None, path: Path, where: str, most: float | None) -> Row:
    """zorba's passes to decomfl's final loss of the same seed, as a share of all of decomfl's.

    A seed that never gets there counts as one evaluation beyond zorba's last round.
    """
    name = f"{where}: zorba's forward passes to decomfl's final loss, share of decomfl's"
    goal = "none, a look" if most is None else f"≤ {most:g}"
    shares = []
    if state is not None and {"zorba", "decomfl"} <= {one.method for one in state.contestants}:
        own, rival = state.contestant("zorba"), state.contestant("decomfl")
        for cell in state.cells_of("zorba", "finished"):
            other = [one for one in state.cells_of("decomfl", "finished") if one.seed == cell.seed]
            if other:
                target = load_run(path / other[0].run).split("validation")[-1].loss
                rounds = _rounds_to(load_run(path / cell.run), target, own.every)
                shares.append(rounds * own.passes_per_round / (rival.rounds * rival.passes_per_round))
    if not shares:
        return not_run(name, "", goal, _ABSENT)
    return make_row(name, shares, "", goal, None if most is None else fmean(shares) <= most, _DEVICE)


def _rounds_to(run: RunRecord, target: float, every: int) -> int:
    reached = (record.round for record in run.split("validation") if record.loss <= target)
    return next(reached, run.config.rounds + every)


def _skew_row(even: Contest | None, skewed: Contest | None, method: str) -> Row:
    """Points of test accuracy that uneven labels and half of the participants cost."""
    name = f"TREC, α 0.1 and half of the clients against α 1 and all: points of test accuracy lost, {method}"
    goal = "≤ 5" if method == "zorba" else "none, for comparison"
    one, other = figure(even, method, "test_accuracy"), figure(skewed, method, "test_accuracy")
    if one is None or other is None or not (found := difference(one, other)).values:
        return not_run(name, "points", goal, _ABSENT)
    met = 100 * (found.mean or 0.0) <= 5 if method == "zorba" else None
    return make_row(name, [100 * value for value in found.values.values()], "points", goal, met, _DEVICE)


def _gain_row(state: Contest | None, where: str, least: float | None) -> Row:
    name, goal = f"{where}: points of test accuracy gained, zorba", "none" if least is None else f"≥ {least:g}"
    end, start = figure(state, "zorba", "test_accuracy"), figure(state, "zorba", "start_test_accuracy")
    if end is None or start is None:
        return not_run(name, "points", goal, _ABSENT)
    found = difference(end, start)
    met = None if least is None else 100 * (found.mean or 0.0) >= least
    return make_row(name, [100 * value for value in found.values.values()], "points", goal, met, _DEVICE)


def _bytes_rows(state: Contest) -> list[Row]:
    """Encoded frames of a client, up and down, per round or over the run."""
    return [_against_decomfl(state), _against_fedit(state), _fedkseed(state)]


def _against_decomfl(state: Contest) -> Row:
    """zorba's round against decomfl's with as many directions, the other participants' scalars and everyone's id."""
    name = "bytes of a round, up and down: zorba, of decomfl's with the other participants' scalars and ids"
    own, other = per_round(state, "zorba"), per_round(state, "decomfl")
    if own is None or other is None:
        return not_run(name, "", "≤ 1", _ABSENT)
    mine, theirs = (_scalars(state, method) for method in ("zorba", "decomfl"))
    # A scalar travels up and down once; per-client directions add those of the others on the way down.
    allowed = other + 8 * (mine - theirs) + 4 * mine * (state.participants - 1) + 4 * state.participants
    return make_row(name, [own / allowed], "", "≤ 1", own <= allowed, _DEVICE)


def _against_fedit(state: Contest) -> Row:
    name = "bytes of the whole run, up and down: fedit's, of zorba's"
    found = [over_run(state, method) for method in ("fedit", "zorba")]
    if found[0] is None or found[1] is None:
        return not_run(name, "", "≥ 1e4", _ABSENT)
    ratio = found[0] / found[1]
    return make_row(name, [ratio], "", "≥ 1e4", ratio >= 1e4, _DEVICE)


def _fedkseed(state: Contest) -> Row:
    name, goal = "bytes of a round, up and down: fedkseed, of 4 + 4 pool + 8 steps", "within 1 % of 1"
    found = per_round(state, "fedkseed")
    if found is None:
        return not_run(name, "", goal, _ABSENT)
    own = state.contestant("fedkseed").settings
    steps = own.get("zo.local_steps", state.base["zo"]["local_steps"])
    pool = own.get("fedkseed.pool", state.base["fedkseed"]["pool"])
    share = found / (4 + 4 * pool + 8 * steps)
    return make_row(name, [share], "", goal, math.isclose(share, 1.0, rel_tol=0.01), _DEVICE)


def _scalars(state: Contest, method: str) -> int:
    """Scalars that a client of a scalar method reports in a round."""
    own, zo = state.contestant(method).settings, state.base["zo"]
    return own.get("zo.directions", zo["directions"]) * own.get("zo.local_steps", zo["local_steps"])


def figure(state: Contest | None, method: str, name: str) -> Estimate | None:
    """A figure of a method; None where the comparison, the method or the figure is missing."""
    outcome = next((one for one in state.outcomes if one.method == method), None) if state is not None else None
    return outcome.figures.get(name) if outcome is not None else None


def per_round(state: Contest, method: str) -> float | None:
    """Bytes up and down of a client in a round, mean over the seeds."""
    return _added(state, method, lambda way: f"bytes_{way}_per_round")


def over_run(state: Contest, method: str) -> float | None:
    """Bytes up and down of a client over the whole run, mean over the seeds."""
    return _added(state, method, lambda way: f"bytes_{way}")


def _added(state: Contest, method: str, name: Callable[[str], str]) -> float | None:
    found = [figure(state, method, name(way)) for way in ("up", "down")]
    known = [one.mean for one in found if one is not None and one.mean is not None]
    return sum(known) if len(known) == 2 else None
