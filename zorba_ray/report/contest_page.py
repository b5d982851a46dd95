"""The page of a comparison: who ends where, what it took, and the curves."""

import shlex
from collections.abc import Callable

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from zorba_ray.report import contest
from zorba_ray.report.canvas import CYCLE, DASHES, MARKERS, Plot, legend_below, plot
from zorba_ray.report.contest import ContestRecord, Standing
from zorba_ray.report.interval import Interval
from zorba_ray.report.load import RunRecord
from zorba_ray.report.numbers import NONE, text_bytes, text_count, text_loss, text_percent, text_seconds, text_value
from zorba_ray.report.page import Detail, Page, Section, Table, Tile
from zorba_ray.report.remake import flat_table


def contest_page(record: ContestRecord) -> Page:
    """All of it."""
    best = min(
        (one for one in record.standings if not one.lost and one.over(contest.final_loss) is not None),
        key=lambda one: _mean(one.over(contest.final_loss)),
        default=None,
    )
    seeds = record.entry.asked["seeds"]
    plots = [own for own in (_curves(record, *axis) for axis in _AXES) if own is not None]
    command = shlex.join(record.entry.command)
    intervals = "Intervals are 95 %, by Student's t over the seeds." if len(seeds) > 1 else "One seed has no interval."
    return Page(
        title=record.entry.name,
        lead=f"{text_count(len(record.standings), 'method')} on the same data, batches and "
        f"{text_count(len(seeds), 'seed')}, {text_count(record.entry.passes, 'forward pass', 'forward passes')} per "
        f"client each (a backward pass counts as two). {intervals}",
        warnings=warnings(record),
        tiles=[] if best is None else [
            Tile("Lowest final validation loss", best.method, text_interval(best.over(contest.final_loss), text_loss)),
        ],
        sections=[
            Section("Standings", tables=[learning_table(record), *levels_tables(record), cost_table(record)]),
            Section("Curves", plots=plots, note="Validation loss, mean over the finished seeds of a method."),
            Section("Rates", tables=[rates_table(record)]),
        ],
        details=[
            Detail("Command", "", [("as it was typed", command)] if command else [], (), opened=True),
            Detail("Settings", "", (), [flat_table("Zorba's settings", record.entry.asked["settings"])]),
        ],
    )  # fmt: skip


def warnings(record: ContestRecord) -> list[str]:
    """Runs that are in no mean, and rates at an end of those tried; one line each."""
    found = []
    for standing in record.standings:
        for own in standing.others:
            where = "" if own.round is None else f" after round {own.round}"
            found.append(f"{standing.method}, seed {own.seed}: {own.status}{where}; it is in no mean.")
        if missing := record.missing(standing):
            seeds = f"seed{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))}"
            found.append(f"{standing.method}: no run yet of {seeds}.")
        found += _at_an_end(record, standing)
        found += _beyond(record, standing)
    return found


def _beyond(record: ContestRecord, standing: Standing) -> list[str]:
    """A probe's passes, or one round dearer than what all have."""
    run = next(iter(standing.runs.values()), None)
    if run is None or run.config.spec.central:
        return []
    passes, probe = run.config.cost_per_round * run.config.rounds, contest.probe_passes(run)
    found = []
    if passes > record.entry.passes:
        found.append(f"{standing.method}: its one round takes {text_count(passes, 'forward pass', 'forward passes')}.")
    if probe:
        found.append(f"{standing.method}: probes made {probe:,} forward passes per client beside.")
    return found


def _at_an_end(record: ContestRecord, standing: Standing) -> list[str]:
    end, tried = record.entry.end_of_ladder(standing.method), record.entry.tried.get(standing.method, {})
    if end is None or standing.rate is None:
        return []
    if all(loss is None for loss in tried.values()):
        return [f"{standing.method}: none of {len(tried)} rates ended; the {end}, {standing.rate:g}, was taken."]
    return [
        f"{standing.method}: rate {standing.rate:g} is the {end} of {len(tried)} tried; the best rate may lie beyond."
    ]


def learning_table(record: ContestRecord) -> Table:
    """Losses and accuracies."""
    first = record.standings[0].method
    columns = [
        "Method", "Rate", "Seeds", "Final loss", f"Loss above {first}", "Best loss", "Final accuracy", "Best accuracy",
        "Test loss", "Test accuracy",
    ]  # fmt: skip
    rows = [
        [
            standing.method,
            NONE if standing.rate is None else f"{standing.rate:g}",
            str(len(standing.runs)),
            text_interval(standing.over(contest.final_loss), text_loss),
            NONE if standing.method == first else text_interval(record.difference(standing), text_loss),
            text_interval(standing.over(contest.best_loss), text_loss),
            text_interval(standing.over(contest.final_accuracy), text_percent),
            text_interval(standing.over(contest.best_accuracy), text_percent),
            text_interval(standing.over(contest.test_loss), text_loss),
            text_interval(standing.over(contest.test_accuracy), text_percent),
        ]
        for standing in record.standings
    ]
    note = f"Losses and accuracies of the validation split unless said. Loss above {first}: paired by seed."
    return Table("Learning", columns, rows, frozenset(range(1, len(columns))), note)


def levels_tables(record: ContestRecord) -> list[Table]:
    """Rounds and forward passes to reach given losses; empty where there are none to reach."""
    if not record.levels:
        return []
    columns = ["Method", *(f"{what} to {level:.3f}" for level in record.levels for what in ("Rounds", "Passes"))]
    rows = []
    for standing, row in zip(record.standings, contest.rows(record), strict=True):
        cells = [standing.method]
        for place in range(1, len(record.levels) + 1):
            got, runs = row[f"reached_level_{place}"], len(standing.runs) + len(standing.lost)
            for what in ("rounds", "passes"):
                value = row[f"{what}_to_level_{place}"]
                cells.append(
                    text_value(round(value, 1)) if value is not None
                    else NONE if not runs else "never" if not got else f"{got} of {runs} seeds"
                )  # fmt: skip
        rows.append(cells)
    note = "At evaluated rounds; a quarter, half and three quarters of the way of the first method. A central "
    note += "method's one client makes the passes of all participants."
    return [Table("What it takes to get there", columns, rows, frozenset(range(1, len(columns))), note)]


def cost_table(record: ContestRecord) -> Table:
    """Bytes, memory, time."""
    columns = ["Method", "Rounds", "Sent up", "Sent down", "VRAM of a client", "CPU time"]
    rows = []
    for standing in record.standings:
        run = next(iter(standing.runs.values()), None)
        source = "" if run is None else f" ({run.allocation.bytes_source})"
        rows.append(
            [
                standing.method,
                NONE if run is None else str(run.config.rounds),
                text_interval(standing.over(contest.bytes_up), text_bytes),
                text_interval(standing.over(contest.bytes_down), text_bytes),
                text_interval(standing.over(contest.vram), text_bytes) + source,
                text_interval(standing.over(contest.cpu_seconds), text_seconds),
            ]
        )
    note = "Bytes of a client that takes part in every round, from encoded frames. VRAM: of the largest client."
    return Table("Cost", columns, rows, frozenset(range(1, len(columns))), note)


def rates_table(record: ContestRecord) -> Table:
    """Every rate that was tried, on the tuning seed, and those that were given."""
    rows = []
    for method, tried in record.entry.tried.items():
        if not tried and method in record.entry.chosen:
            rows.append([method, f"{record.entry.chosen[method]:g}", NONE, "given"])
        for rate, loss in tried.items():
            rows.append([method, rate, text_loss(loss), "chosen" if record.entry.is_chosen(method, rate) else ""])
    share = record.entry.asked["tune_share"]
    larger = f", {share**-0.5:.3g} times as large" if share < 1 else ""
    note = (
        f"Judged on a seed of their own, in {100 * share:g} % of the rounds{larger}; – is a run that did not end; a "
        "given rate is not judged."
    )
    return Table("Rates tried", ["Method", "Rate", "Final loss", "Choice"], rows, frozenset({1, 2}), note)


def text_interval(interval: Interval | None, text: Callable[[float | None], str]) -> str:
    """'0.3471 ± 0.0210'; without the interval for one value."""
    if interval is None:
        return NONE
    spread = f" ± {text(interval.half)}" if interval.half else ""
    return text(interval.mean) + spread


def _mean(interval: Interval | None) -> float:
    assert interval is not None
    return interval.mean


def _bytes_at(run: RunRecord, round: int) -> float | None:
    up, down = contest.bytes_up(run), contest.bytes_down(run)
    return None if up is None or down is None else (up + down) * round / max(run.rounds_done, 1)


def _cpu_at(run: RunRecord, round: int) -> float | None:
    seconds = contest.cpu_seconds(run)
    return None if seconds is None else seconds * round / max(run.rounds_done, 1)


At = Callable[[RunRecord, int], float | None]
"""Where a run is on an axis after a round; None for every round where that is not known."""
_AXES: tuple[tuple[str, At, str], ...] = (
    ("round", lambda run, round: float(round), "linear"),
    ("forward passes per client", lambda run, round: float(contest.passes_at(run, round)), "linear"),
    ("bytes per client, up and down", _bytes_at, "log"),
    ("CPU seconds, spread evenly over the rounds", _cpu_at, "linear"),
)


def _curves(record: ContestRecord, label: str, at: At, scale: str) -> Plot | None:
    drawn = [  # each with the colour that it has in every figure
        (index, standing) for index, standing in enumerate(record.standings) if _placed(standing, at)
    ]
    if not drawn:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, standing in drawn:
            xs, ys = _mean_curve(standing, at)
            skip = 1 if scale == "log" else 0
            axes.plot(
                xs[skip:], ys[skip:], color=CYCLE[index % len(CYCLE)], marker=MARKERS[index % len(MARKERS)],
                linestyle=DASHES[index // len(CYCLE) % len(DASHES)], markersize=4, label=standing.method,
            )  # fmt: skip
        if scale == "log":
            axes.set_xscale("log", base=10)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+0", "e")))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.set_ylabel("validation loss")
        legend_below(figure, axes, columns=3)

    names = ", ".join(standing.method for _, standing in drawn)
    return plot(f"Against {label}", f"Validation loss of {names} against {label}.", draw, 3.6)


def _placed(standing: Standing, at: At) -> list[RunRecord]:
    """Finished runs that have a place on the axis."""
    return [run for run in standing.runs.values() if at(run, 0) is not None]


def _mean_curve(standing: Standing, at: At) -> tuple[list[float], list[float]]:
    """Means over the finished seeds that are on the axis, which are evaluated at the same rounds."""
    runs = _placed(standing, at)
    shared = min(len(contest.curve(run)) for run in runs)
    xs, ys = [], []
    for place in range(shared):
        points = [contest.curve(run)[place] for run in runs]
        xs.append(sum(at(run, point.round) or 0.0 for run, point in zip(runs, points, strict=True)) / len(runs))
        ys.append(sum(point.loss for point in points) / len(runs))
    return xs, ys
