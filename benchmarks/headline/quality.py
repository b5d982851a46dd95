"""Rows of a comparison of the headline: who fits, the test figure of every method, and zorba beside each rival."""

from collections.abc import Sequence

from benchmarks.headline.paired import paired
from benchmarks.headline.tasks import FIRST_ORDER, FORWARD_ONLY, Task
from benchmarks.rows import Row, commit, make_row, not_run
from zorba_ray.config import DEFAULT_METHOD
from zorba_ray.report.comparison import ComparisonRecord, MethodResult
from zorba_ray.report.comparison_points import interval_of_runs
from zorba_ray.report.measures import FIGURES, headline_figure
from zorba_ray.tables.text import text_bytes, text_value

_DEVICE = "cpu, 1 thread"
_LEVEL = "first, or level within the interval"


def rows(task: Task, quick: bool) -> list[Row]:
    """Runs or resumes it. Quick: reads what is there.

    Raises:
        ZorbaError: as `Task.run`.
    """
    if not quick:
        task.run()
    record = task.read()
    if record is None:
        return [not_run(f"{task.name}: comparison", "", "every method runs", "not run, or no data or model")]
    made = [_fitting(task, result) for result in record.results if result.fit is not None]
    made += [_figure(task, record, result) for result in record.results]
    zorba = next((result for result in record.results if result.method == DEFAULT_METHOD), None)
    if zorba is not None:
        made += [
            _beside(task, zorba, result) for result in record.results if result.method in FORWARD_ONLY + FIRST_ORDER
        ]
    return made


def _fitting(task: Task, result: MethodResult) -> Row:
    assert result.fit is not None
    count, all_of_them = result.fitting or 0, result.fit.clients
    zorba = result.method == DEFAULT_METHOD
    details = {
        machine.kind: f"{len(machine.clients)} × {text_bytes(machine.budget_bytes)}: {machine.placement.text}, "
        f"{text_bytes(machine.placement.bytes)}"
        + (f", {text_bytes(machine.missing_bytes)} too many" if machine.missing_bytes else "")
        for machine in result.fit.machines
    }
    return make_row(
        f"{task.name}: clients that fit, {result.method}", [count], "clients",
        f"all {all_of_them}" if zorba else "none", count == all_of_them if zorba else None, _DEVICE, details,
    )  # fmt: skip


def _figure(task: Task, record: ComparisonRecord, result: MethodResult) -> Row:
    """The test figure, its least and greatest value the ends of the interval; below it all that belongs to it."""
    run, name = result.first_run, f"{task.name}: {result.method}"
    if run is None:
        why = "no client fits" if result.fitting == 0 else "not finished, or diverged"
        return not_run(name, "", "none", why)
    figure = headline_figure(run)
    spread = result.over(FIGURES[f"test_{figure}"])
    if spread is None:
        return not_run(name, "", "none", "no test figure")
    low, high = interval_of_runs(result, figure)
    start = next((test for test in run.split("test") if test.round == 0), None)
    details = {
        "by seed": ", ".join(f"{value:.4f}" for value in spread.values),
        "zero-shot, majority class": f"{text_value(getattr(start, figure, None))}, "
        f"{text_value(run.split('test')[-1].majority.get(figure))}",
        "rate": f"{result.rate:g} of {', '.join(record.entry.tried.get(result.method, {})) or 'one'}",
        "of a client": ", ".join(
            f"{what} {text_value(value.mean)}"
            for what in ("passes", "examples", "bytes_up_per_round", "bytes_down_per_round")
            if (value := result.over(FIGURES[what])) is not None
        ),
        "CPU": f"{text_value(run.summary.cpu_s) if run.summary else '–'} s of seed {run.config.seed}",
        "made": f"{run.provenance.started}, commit {(run.provenance.git or {}).get('commit', 'unknown')}",
    }
    return Row(
        f"{name}, test {figure}", spread.mean, "", "none", None, _DEVICE, commit(), low, spread.mean, high, details
    )


def _beside(task: Task, zorba: MethodResult, rival: MethodResult) -> Row:
    """zorba minus the rival on the same test rows, in points of accuracy or nats of loss."""
    few = rival.fit is not None and 2 * (rival.fitting or 0) < rival.fit.clients
    goal = _LEVEL if rival.method in FORWARD_ONLY else "first, as fewer than half fit" if few else "an honest number"
    name, seeds = f"{task.name}: zorba minus {rival.method}", sorted(zorba.runs.keys() & rival.runs.keys())
    if not seeds:
        return not_run(name, "points", goal, "no client fits" if rival.fitting == 0 else "not finished")
    mean, span = paired(*([result.runs[seed].path for seed in seeds] for result in (zorba, rival)))
    low, high = span or (mean, mean)
    met = None if goal == "an honest number" else mean > 0 if few and rival.method in FIRST_ORDER else high >= 0
    over = "seeds" if len(seeds) > 2 else "test rows, drawn again"
    low, mean, high = _scaled((low, mean, high), zorba)
    details = {"interval": f"95 %, over {over}", "seeds": ", ".join(map(str, seeds))}
    return Row(name, mean, _unit(zorba), goal, met, _DEVICE, commit(), low, mean, high, details)


def _unit(result: MethodResult) -> str:
    run = result.first_run
    return "points" if run is not None and headline_figure(run) == "accuracy" else "nats"


def _scaled(values: Sequence[float], result: MethodResult) -> tuple[float, ...]:
    return tuple((100 if _unit(result) == "points" else 1) * value for value in values)
