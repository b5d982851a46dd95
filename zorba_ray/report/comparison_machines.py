"""The tables of a comparison that say which machines can take part in which method."""

from collections.abc import Callable
from functools import partial
from statistics import fmean

from zorba_ray.artifacts.campaigns import MachineFit
from zorba_ray.config import load_method
from zorba_ray.report.comparison import ComparisonRecord, MethodResult
from zorba_ray.report.measures import FIGURES
from zorba_ray.tables import Column, Table, with_interval
from zorba_ray.tables.text import NONE, text_bytes, text_figure, text_percent, text_seconds


def over(
    title: str, name: str, suffix: Callable[[MethodResult], str] = lambda result: "", keep: int = 0
) -> Column[MethodResult]:
    """A column with a figure's mean over the seeds and its interval."""
    show = with_interval(partial(text_figure, name))

    def get(result: MethodResult) -> str | None:
        spread = result.over(FIGURES[name])
        return None if spread is None else show(spread) + suffix(result)

    return Column(title, get, str, keep)


def machines_table(record: ComparisonRecord) -> Table:
    """The table of the clients that can take part, and what they hold."""

    def fitting(result: MethodResult) -> str:
        return f"{result.fitting} of {result.fit.clients}" if result.fit else NONE

    def share(result: MethodResult) -> float | None:
        return max((held / budget for held, budget in result.held if budget), default=None)

    sources = {result.method: result.fit.source for result in record.results if result.fit}
    by_source = [
        f"{source}: {', '.join(name for name in sources if sources[name] == source)}"
        for source in dict.fromkeys(sources.values())
    ]
    central = [result.method for result in record.results if load_method(result.method).central]
    in_one = (
        f" {', '.join(central)}: all data in one place, whatever fits; shown is who could do it." if central else ""
    )
    return Table(
        "Machines",
        record.results,
        [
            Column("Method", lambda result: result.method),
            Column("Fit", fitting, str),
            over("Data", "data_share"),
            Column("Largest", lambda result: max((held for held, _ in result.held), default=None), text_bytes),
            Column("Mean", lambda result: fmean(h for h, _ in result.held) if result.held else None, text_bytes),
            Column("Of budget", share, text_percent),
            Column("Step", lambda result: result.step_seconds, text_seconds),
        ],
        "Fit: clients that can take part; the others are left out of the method. Data: share of the training examples "
        "that these have. Largest, mean: bytes of their accelerators. Of budget: the fullest one. Step: modelled time "
        f"of the slowest client, P = K = 1. Bytes are {'; '.join(by_source)}.{in_one}",
    )


def classes_table(record: ComparisonRecord) -> Table:
    """Which class of machines can take part in which method, and how; what is missing if it cannot."""

    def how(machine: MachineFit) -> str:
        where = machine.placement
        blocks = "" if where.blocks is None else f", {where.blocks} active"
        if not machine.missing_bytes:
            return f"{where.text}{blocks}: {text_bytes(where.bytes)}"
        least = f"the smallest placement ({where.text}{blocks}) holds {text_bytes(where.bytes)}"
        return f"too small by {text_bytes(machine.missing_bytes)}: {least}"

    return Table(
        "Placements",
        [(result.method, machine) for result in record.results if result.fit for machine in result.fit.machines],
        [
            Column("Method", lambda pair: pair[0]),
            Column("Class", lambda pair: f"{len(pair[1].clients)} × {pair[1].kind}"),
            Column("Budget", lambda pair: pair[1].budget_bytes, text_bytes),
            Column("Placement", lambda pair: how(pair[1])),
        ],
        "A class takes the quickest placement that its budget holds. The format of a frozen base is one for all "
        "clients of a method: the finest of those with which most can take part.",
    )
