"""The page of a comparison: results and cost of each method, curves, and rates."""

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from zorba_ray.artifacts import Run
from zorba_ray.config import SCORES
from zorba_ray.report import measures
from zorba_ray.report.comparison import ComparisonRecord, MethodResult
from zorba_ray.report.comparison_machines import classes_table, machines_table, over
from zorba_ray.report.comparison_points import SENT_AXIS, VRAM_AXIS, Points, draw_points, points_of
from zorba_ray.report.curves import BYTES, Cost, Line, curves_plot
from zorba_ray.report.figure import Plot, legend, plot
from zorba_ray.report.measures import FIGURES
from zorba_ray.report.page import Page, PageSection, Tile
from zorba_ray.report.settings import settings_table, typed_command
from zorba_ray.tables import Cell, Column, Table, with_interval
from zorba_ray.tables.text import figure_name, text_count, text_loss, text_percent


def comparison_page(record: ComparisonRecord) -> Page:
    """The page of a comparison."""
    judged, better = ("reward", max) if _is_rewarded(record) else ("loss", min)
    measure = FIGURES[f"final_{judged}"]
    ends = [(end, result) for result in record.results if not result.lost and (end := result.over(measure))]
    best = better(ends, key=lambda pair: pair[0].mean, default=None)
    seeds = record.entry.asked["seeds"]
    done, planned = sum(len(result.runs) for result in record.results), len(record.results) * len(seeds)
    named = ", ".join(map(str, seeds[:8])) + (", …" if seeds[8:] else "")
    tiles = [
        Tile("Runs finished", f"{done} of {planned}", f"seeds: {named}"),
        Tile("Forward passes of a client", f"{record.entry.passes:,}", "by each method; a backward pass counts as two"),
    ]
    if best is not None:
        which = "Highest" if judged == "reward" else "Lowest"
        tiles.insert(0, Tile(f"{which} final validation {judged}", best[1].method, with_interval(text_loss)(best[0])))
    intervals = "Intervals are 95 %, by Student's t over the seeds. " if len(seeds) > 2 else ""
    intervals += "With one or two seeds there is no interval: the values are shown."
    *tables, rates = comparison_tables(record)
    lines = [Line(result.method, list(result.runs.values())) for result in record.results]
    passes, note = passes_of_client(record), _central_note(record)
    shown = points_of(record)
    spread = "95 % interval over " + ("the seeds" if len(seeds) > 2 else "the test rows")
    marks = f"Bars: {spread}. "
    plots = [
        _points_plot(
            "Quality against memory",
            shown,
            VRAM_AXIS,
            f"{marks}Full marks: what clients hold, by class. Open marks: other placements with the same quality.",
        ),
        _points_plot("Quality against bytes sent", shown, SENT_AXIS, marks),
        curves_plot("Loss against forward passes", lines, cost=passes, note=note),
        curves_plot("Accuracy against forward passes", lines, "accuracy", passes, note),
        curves_plot("Reward against forward passes", lines, "reward", passes, note),
        curves_plot("Loss against bytes", lines, cost=BYTES),
    ]
    return Page(
        title=record.entry.name,
        lead=f"{text_count(len(record.results), 'method')} on the same data, batches and "
        f"{text_count(len(seeds), 'seed')}. {intervals}",
        warnings=comparison_warnings(record),
        tiles=tiles,
        sections=[
            PageSection("Results", tables=tables),
            PageSection("Curves", "Thick: mean over the finished seeds. Thin: each seed.", [p for p in plots if p]),
            PageSection("Rates", tables=[rates]),
        ],
        again=[
            PageSection(
                "Command and settings",
                tables=[settings_table("Zorba's settings", record.entry.asked["settings"])],
                commands=typed_command(record.entry.command),
            )
        ],
    )


def _points_plot(title: str, points: Sequence[Points], cost: str, note: str) -> Plot | None:
    shown = [point for point in points if cost == VRAM_AXIS or point.sent is not None]
    if not shown:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        draw_points(axes, shown, cost)
        legend(figure, axes)

    return plot(title, draw, 3.0, note)


def passes_of_client(record: ComparisonRecord) -> Cost:
    """Forward passes per client, as one axis for all methods. A method with one client makes the passes of all clients,
    so they are divided by their number."""

    def at(run: Run, round: int) -> float:
        config, passes = run.config, measures.passes_at(run, round)
        passes_of_run = config.cost_per_round * config.rounds
        return passes / max(1.0, passes_of_run / record.entry.passes) if config.spec.central else float(passes)

    return Cost("forward passes per client", at)


def _central_note(record: ComparisonRecord) -> str:
    central = [result.method for result in record.results if result.first_run and result.first_run.config.spec.central]
    if not central:
        return ""
    return f"{', '.join(central)}: one client has all data; its passes are divided by the number of clients."


def comparison_warnings(record: ComparisonRecord) -> list[str]:
    """Warnings, one line per kind: runs in no mean, rates at an end of those tried, more passes than others."""
    kinds: dict[str, list[str]] = {}

    def add(kind: str, what: str) -> None:
        kinds.setdefault(kind, []).append(what)

    ways = {result.first_run.config.federation.aggregate for result in record.results if result.first_run is not None}
    for result in record.results:
        if result.first_run is not None and result.first_run.config.adversaries:
            add("Under attack", f"{result.method}, {result.first_run.config.attacked_text}")
        for cell in result.others:
            where = "" if cell.round is None else f" after round {cell.round}"
            add("Not in any mean", f"{result.method}, seed {cell.seed} ({cell.status}{where})")
        if missing := record.missing(result):
            add("No run yet", f"{result.method}, seed{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))}")
        if len(ways) > 1 and result.first_run is not None:
            add("Aggregated in different ways", f"{result.method}: {result.first_run.config.federation.aggregate}")
        _add_rate(record, result, add)
        _add_passes(record, result, add)
    return [f"{kind}: {'; '.join(what)}." for kind, what in kinds.items()]


def _add_rate(record: ComparisonRecord, result: MethodResult, add: Callable[[str, str], None]) -> None:
    end, tried = record.entry.end_of_ladder(result.method), record.entry.tried.get(result.method, {})
    if end is None or result.rate is None:
        return
    what = f"{result.method}, {result.rate:g} ({end} of {len(tried)})"
    ended = any(loss is not None for loss in tried.values())
    add(
        "The best rate may be beyond those that were tried" if ended else "No run that tried a rate ended; used is",
        what,
    )


def _add_passes(record: ComparisonRecord, result: MethodResult, add: Callable[[str, str], None]) -> None:
    """Warns of the passes of probes, and of a method whose single round has more passes than the comparison gives."""
    run = result.first_run
    if run is None or run.config.spec.central:
        return
    passes = run.config.cost_per_round * run.config.rounds
    if passes > record.entry.passes:
        add("More forward passes than the others, in a single round", f"{result.method}, {passes:,}")
    if probe := measures.probe_passes(run):
        add("Additional forward passes of probes, per client", f"{result.method}, {probe:,}")


def comparison_tables(record: ComparisonRecord) -> list[Table]:
    """All tables, for the page and the terminal; the table of rates is the last."""
    machines = [machines_table(record), classes_table(record)] if record.entry.fits else []
    return [learning_table(record), *machines, cost_table(record), rates_table(record)]


def _is_rewarded(record: ComparisonRecord) -> bool:
    return any(run.config.task_kind == "reward" for result in record.results for run in result.runs.values())


def learning_table(record: ComparisonRecord) -> Table:
    """The table of losses and accuracies."""
    first = record.results[0]
    return Table(
        "Learning",
        record.results,
        [
            Column("Method", lambda result: result.method),
            Column("Rate", lambda result: result.rate, "{:g}".format),
            Column("Seeds", lambda result: len(result.runs), str),
            over("Final loss", "final_loss"),
            Column(
                f"Loss above {first.method}",
                lambda result: None if result is first else record.difference(result),
                with_interval(text_loss),
            ),
            over("Final accuracy", "final_accuracy"),
            over("Test loss", "test_loss"),
            over("Test accuracy", "test_accuracy"),
            *(
                over(f"Test {figure_name(name)}", f"test_{name}", keep=-1)
                for name in ("macro_f1", "perplexity", *SCORES, "reward")
                if any(result.over(FIGURES[f"test_{name}"]) for result in record.results)
            ),
        ],
        f"Losses and accuracies are those of the validation split, except the test columns. Loss above {first.method}: "
        "the difference for each seed."
        f"{_start(record)}",
    )


def _start(record: ComparisonRecord) -> str:
    """A sentence with the test accuracy before round 1, and chance; empty if they are not known."""
    run = next((result.first_run for result in record.results if result.first_run), None)
    if run is None or (guess := measures.chance(run)) is None:
        return ""
    zero_shot = next((test.accuracy for test in run.split("test") if test.round == 0), None)
    before = "" if zero_shot is None else f" Test accuracy before round 1 (zero-shot): {text_percent(zero_shot)}."
    most = [test.majority["accuracy"] for test in run.split("test") if "accuracy" in test.majority]
    majority = f" Majority class: {text_percent(most[-1])}." if most else ""
    return f"{before}{majority} Chance: {text_percent(guess)}."


def cost_table(record: ComparisonRecord) -> Table:
    """The table of passes, bytes, memory and time."""

    def source(result: MethodResult) -> str:
        if result.first_run is None:
            return ""
        allocation = result.first_run.allocation
        frozen = max(allocation.clients, key=lambda client: client.bytes).frozen
        where = {"host": ", streamed", "device": ", resident"}.get(frozen or "", "")
        return f" ({allocation.bytes_source}{where})"

    judged = bool(record.entry.fits)
    return Table(
        "Cost",
        record.results,
        [
            Column("Method", lambda result: result.method),
            Column("Rounds", lambda result: result.first_run and result.first_run.config.rounds, str),
            over("Passes", "passes"),
            over("Examples", "examples"),
            over("Up a round", "bytes_up_per_round"),
            over("Down a round", "bytes_down_per_round"),
            over("Sent up", "bytes_up", keep=-2),
            over("Sent down", "bytes_down", keep=-2),
            *(() if judged else (over("VRAM of a client", "vram_bytes", source),)),
            over("CPU time", "cpu_s"),
            *(
                (over("Privacy ε", "privacy_epsilon"),)
                if any(result.over(FIGURES["privacy_epsilon"]) for result in record.results)
                else ()
            ),
        ],
        "Passes (a backward pass counts as two), examples and bytes are those of a client that takes part in every "
        "round; bytes are those of the encoded messages. CPU time is that of all clients on this machine."
        + (
            ""
            if judged
            else " VRAM_AXIS is that of the largest client. Frozen blocks are in host memory (streamed) or on the "
            "accelerator (resident): do not compare the VRAM_AXIS of the two kinds directly."
        ),
    )


def rates_table(record: ComparisonRecord) -> Table:
    """The table of all rates that were tried, and of those that were given by --rates."""
    rows: list[tuple[Cell, ...]] = []
    for method, tried in record.entry.tried.items():
        if not tried and method in record.entry.chosen:
            rows.append((method, f"{record.entry.chosen[method]:g}", None, "given"))
        for rate, loss in tried.items():
            rows.append((method, rate, loss, "chosen" if record.entry.is_chosen(method, rate) else ""))
    share = record.entry.asked["tune_share"]
    larger = f", {share**-0.5:.3g} times as large" if share < 1 else ""
    return Table.of_rows(
        "Rates tried",
        {"Method": None, "Rate": str, "Final loss": text_loss, "Choice": None},
        rows,
        f"Each rate was tried with another seed, in {100 * share:g} % of the rounds{larger}. –: the run did not end. A "
        "given rate was not tried.",
    )
