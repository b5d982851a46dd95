"""The page of a comparison: which method ends where, what it took, and the curves."""

from collections.abc import Callable
from functools import partial

from zorba_ray.artifacts import Run
from zorba_ray.config import SCORES
from zorba_ray.report import measures
from zorba_ray.report.comparison import ComparisonRecord, MethodResult
from zorba_ray.report.curves import BYTES, Cost, Line, curves_plot
from zorba_ray.report.measures import FIGURES
from zorba_ray.report.page import Page, PageSection, Tile
from zorba_ray.report.settings import settings_table, typed_command
from zorba_ray.tables import Cell, Column, Table, with_interval
from zorba_ray.tables.text import figure_name, text_count, text_figure, text_loss, text_percent


def comparison_page(record: ComparisonRecord) -> Page:
    """All of it."""
    judged, better = ("reward", max) if _is_rewarded(record) else ("loss", min)
    measure = FIGURES[f"final_{judged}"]
    ends = [(end, result) for result in record.results if not result.lost and (end := result.over(measure))]
    best = better(ends, key=lambda pair: pair[0].mean, default=None)
    seeds = record.entry.asked["seeds"]
    done, asked = sum(len(result.runs) for result in record.results), len(record.results) * len(seeds)
    named = ", ".join(map(str, seeds[:8])) + (", …" if seeds[8:] else "")
    tiles = [
        Tile("Runs finished", f"{done} of {asked}", f"seeds: {named}"),
        Tile("Forward passes of a client", f"{record.entry.passes:,}", "by each method; a backward pass counts as two"),
    ]
    if best is not None:
        which = "Highest" if judged == "reward" else "Lowest"
        tiles.insert(0, Tile(f"{which} final validation {judged}", best[1].method, with_interval(text_loss)(best[0])))
    intervals = "Intervals are 95 %, by Student's t over the seeds. " if len(seeds) > 2 else ""
    intervals += "One seed or two have no interval: their values stand, by seed."
    *tables, rates = comparison_tables(record)
    lines = [Line(result.method, list(result.runs.values())) for result in record.results]
    passes, note = passes_of_client(record), _central_note(record)
    plots = [
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
            ),
        ],
    )


def passes_of_client(record: ComparisonRecord) -> Cost:
    """Forward passes, on one axis for all methods: a central method makes those of all clients in one place, and its
    are divided by their number."""

    def at(run: Run, round: int) -> float:
        config, passes = run.config, measures.passes_at(run, round)
        whole = config.cost_per_round * config.rounds
        return passes / max(1.0, whole / record.entry.passes) if config.spec.central else float(passes)

    return Cost("forward passes per client", at)


def _central_note(record: ComparisonRecord) -> str:
    central = [result.method for result in record.results if result.first_run and result.first_run.config.spec.central]
    if not central:
        return ""
    return f"{', '.join(central)}: all data in one place; its passes are divided by the number of clients."


def comparison_warnings(record: ComparisonRecord) -> list[str]:
    """Runs that are in no mean, rates at an end of those tried, and passes beyond what all have; a line per kind."""
    kinds: dict[str, list[str]] = {}

    def add(kind: str, what: str) -> None:
        kinds.setdefault(kind, []).append(what)

    for result in record.results:
        for cell in result.others:
            where = "" if cell.round is None else f" after round {cell.round}"
            add("In no mean", f"{result.method}, seed {cell.seed} ({cell.status}{where})")
        if missing := record.missing(result):
            add("No run yet", f"{result.method}, seed{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))}")
        _add_rate(record, result, add)
        _add_passes(record, result, add)
    return [f"{kind}: {'; '.join(what)}." for kind, what in kinds.items()]


def _add_rate(record: ComparisonRecord, result: MethodResult, add: Callable[[str, str], None]) -> None:
    end, tried = record.entry.end_of_ladder(result.method), record.entry.tried.get(result.method, {})
    if end is None or result.rate is None:
        return
    what = f"{result.method}, {result.rate:g} ({end} of {len(tried)})"
    ended = any(loss is not None for loss in tried.values())
    add("The best rate may lie beyond those tried" if ended else "A rate was taken although none tried ended", what)


def _add_passes(record: ComparisonRecord, result: MethodResult, add: Callable[[str, str], None]) -> None:
    """A probe's passes, or one round dearer than what all have."""
    run = result.first_run
    if run is None or run.config.spec.central:
        return
    passes = run.config.cost_per_round * run.config.rounds
    if passes > record.entry.passes:
        add("One round takes more forward passes than all have", f"{result.method}, {passes:,}")
    if probe := measures.probe_passes(run):
        add("Forward passes of probes beside, per client", f"{result.method}, {probe:,}")


def comparison_tables(record: ComparisonRecord) -> list[Table]:
    """All tables, for the page and the terminal; the rates last."""
    return [learning_table(record), cost_table(record), rates_table(record)]


def _over(
    title: str, name: str, suffix: Callable[[MethodResult], str] = lambda result: "", keep: int = 0
) -> Column[MethodResult]:
    """A figure's mean over the seeds with its interval."""
    show = with_interval(partial(text_figure, name))

    def get(result: MethodResult) -> str | None:
        spread = result.over(FIGURES[name])
        return None if spread is None else show(spread) + suffix(result)

    return Column(title, get, str, keep)


def _is_rewarded(record: ComparisonRecord) -> bool:
    return any(run.config.task_kind == "reward" for result in record.results for run in result.runs.values())


def learning_table(record: ComparisonRecord) -> Table:
    """Losses and accuracies."""
    first = record.results[0]
    return Table(
        "Learning",
        record.results,
        [
            Column("Method", lambda result: result.method),
            Column("Rate", lambda result: result.rate, "{:g}".format),
            Column("Seeds", lambda result: len(result.runs), str),
            _over("Final loss", "final_loss"),
            Column(
                f"Loss above {first.method}",
                lambda result: None if result is first else record.difference(result),
                with_interval(text_loss),
            ),
            _over("Final accuracy", "final_accuracy"),
            _over("Test loss", "test_loss"),
            _over("Test accuracy", "test_accuracy"),
            *(
                _over(f"Test {figure_name(name)}", f"test_{name}", keep=-1)
                for name in ("macro_f1", "perplexity", *SCORES, "reward")
                if any(result.over(FIGURES[f"test_{name}"]) for result in record.results)
            ),
        ],
        f"Losses and accuracies of the validation split unless said. Loss above {first.method}: paired by seed."
        f"{_start(record)}",
    )


def _start(record: ComparisonRecord) -> str:
    """The test accuracy before round 1, and chance; empty where they are not known."""
    run = next((result.first_run for result in record.results if result.first_run), None)
    if run is None or (guess := measures.chance(run)) is None:
        return ""
    zero_shot = next((test.accuracy for test in run.split("test") if test.round == 0), None)
    before = "" if zero_shot is None else f" Test accuracy before round 1 (zero-shot): {text_percent(zero_shot)}."
    return f"{before} Chance: {text_percent(guess)}."


def cost_table(record: ComparisonRecord) -> Table:
    """Bytes, memory, time."""

    def source(result: MethodResult) -> str:
        if result.first_run is None:
            return ""
        allocation = result.first_run.allocation
        frozen = max(allocation.clients, key=lambda client: client.bytes).frozen
        where = {"host": ", streamed", "device": ", resident"}.get(frozen or "", "")
        return f" ({allocation.bytes_source}{where})"

    return Table(
        "Cost",
        record.results,
        [
            Column("Method", lambda result: result.method),
            Column("Rounds", lambda result: result.first_run and result.first_run.config.rounds, str),
            _over("Sent up", "bytes_up"),
            _over("Sent down", "bytes_down"),
            _over("VRAM of a client", "vram_bytes", source),
            _over("CPU time", "cpu_s"),
        ],
        "Bytes of a client that takes part in every round, from encoded frames. VRAM: of the largest client. Frozen "
        "blocks live in host memory (streamed) or on the accelerator (resident): these do not compare like for like.",
    )


def rates_table(record: ComparisonRecord) -> Table:
    """Every rate that was tried, on the tuning seed, and those that were given."""
    rows: list[tuple[Cell, ...]] = []
    for method, tried in record.entry.tried.items():
        if not tried and method in record.entry.chosen:
            rows.append((method, f"{record.entry.chosen[method]:g}", None, "given"))
        for rate, loss in tried.items():
            rows.append((method, rate, loss, "chosen" if record.entry.is_chosen(method, rate) else ""))
    share = record.entry.asked["tune_share"]
    larger = f", {share**-0.5:.3g} times as large" if share < 1 else ""
    return Table(
        "Rates tried",
        rows,
        [
            Column("Method", lambda row: row[0]),
            Column("Rate", lambda row: row[1], str),
            Column("Final loss", lambda row: row[2], text_loss),
            Column("Choice", lambda row: row[3]),
        ],
        f"Judged on a seed of their own, in {100 * share:g} % of the rounds{larger}; – is a run that did not end; a "
        "given rate is not judged.",
    )
