"""The output of `zorba-ray allocate`: the map, objectives with their bounds, steps, front, what-if."""

import math
from typing import Any

from zorba_ray.cli.terminal import Console
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import text_gap
from zorba_ray.units import format_bytes

_NAMED = 12
"""Most rows of the what-if table."""
_NAMES = {"convergence": "f1", "vram": "f2", "time": "f3"}

Row = dict[str, Any]
Kind = tuple[tuple[int, int], list[str]]
"""((budget, needed bytes), names of the clients with these figures)."""


def print_answer(name: str, answers: dict[str, Any]) -> None:
    """Prints one of the answers "allocation", "what_if" and "front" on stdout."""
    console = Console()
    tree = answers[name]
    if name == "allocation":
        print_map(console, tree)
        console.print(fleet_text(tree))
        tables = [objectives_table(tree), variance_table(tree), *([bounds_table(tree)] if tree["steps"] else [])]
        text = _BOUNDS if tree["steps"] else ""
    elif name == "what_if":
        tables = [what_if_table(tree)] if tree["clients"] else []
        text = what_if_text(tree)
    else:
        tables = [front_table(tree, answers["allocation"]["vram_objective"] == "worst_share")]
        text = front_text(tree)
    for table in tables:
        console.print(table.terminal(console.width))
    if text:
        console.print(text)


_BOUNDS = (
    "bound here: proven lower bound under the constraint of the objective's last step. bound at all: proven "
    "lower bound over all allocations. gap: (value − bound) / value; for f2 without the bytes of clients with no "
    "active block."
)


def print_map(console: Console, record: dict[str, Any]) -> None:
    """Prints which client activates which blocks, and its bytes and budget. `record` is allocation.json."""
    # Imported here, because reports load matplotlib, and `--help` must be quick.
    from zorba_ray.artifacts import record_of
    from zorba_ray.artifacts.allocation import AllocationRecord
    from zorba_ray.cli.allocation_map import allocation_map, map_legend

    allocation = record_of(AllocationRecord, record, "allocation")
    console.print(allocation_map(allocation, console.width).terminal(console.width))
    console.print(map_legend(allocation, console.width))


def fleet_text(record: dict[str, Any]) -> str:
    """The fleet's bytes compared with all blocks active, and the parts of a client without active blocks."""
    from zorba_ray.artifacts import record_of
    from zorba_ray.artifacts.allocation import AllocationRecord

    total = record_of(AllocationRecord, record, "allocation").fleet_bytes_all_active or record["f2_bytes"]
    parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in record["memory_parts"].items())
    return (
        f"Fleet: {format_bytes(record['f2_bytes'])}; with all blocks active everywhere {format_bytes(total)} "
        f"({1 - record['f2_bytes'] / total:.1%} less). A client with no active block: {parts}. "
        f"Solver: {record['solver']}."
    )


def objectives_table(record: dict[str, Any]) -> Table[Row]:
    """Value and proven bounds of each objective."""
    share = record["vram_objective"] == "worst_share"
    columns: list[Column[Row]] = [
        Column("objective", lambda row: _name(row["objective"], share)),
        # f1 has no value if a block is active on no client.
        Column("value", lambda row: "∞" if row["value"] is None else _text(row["objective"], row["value"], share), str),
    ]
    if record["steps"]:
        columns += [
            _objective("bound here", "bound", share, -1),
            Column[Row]("gap", lambda row: row["gap"], text_gap),
            _objective("bound at all", "best", share, -2),
        ]
    return Table(f"Objectives at ε = {record['epsilon']:g} (f1: 1 = all active)", record["objectives"], columns)


def variance_table(record: dict[str, Any]) -> Table[str]:
    """The exact variance for both weightings of clients; f1 is a surrogate of it."""
    exact = record["exact_variance"]

    def ratio(kind: str) -> float | None:
        all_active = exact["all_active"][kind]
        return exact[kind] / all_active if all_active > 0 else None  # a probe may find no energy at all

    columns: list[Column[str]] = [
        Column("weights", lambda kind: f"{kind} (this run)" if kind == record["weights"] else kind),
        Column("variance", lambda kind: exact[kind], "{:.5g}".format),
        Column("all active", lambda kind: exact["all_active"][kind], "{:.5g}".format, keep=-2),
        Column("ratio", ratio, "{:.4g}".format),
    ]
    energies = "assumed equal in all blocks" if exact["energies"] == "uniform" else "as measured"
    caption = f"Exact variance of a round with per-client seeds, gradient energies {energies}"
    return Table(caption, ("data", "inverse_noise"), columns)


def bounds_table(record: dict[str, Any]) -> Table[Row]:
    """The steps of the solver, with values and proven bounds."""
    share = record["vram_objective"] == "worst_share"
    columns: list[Column[Row]] = [
        Column("step", lambda step: step["name"].replace("_", " ")),
        Column("subject to", lambda step: step["constraint"], keep=-4),
        _objective("value", "value", share),
        _objective("bound", "bound", share, -1),
        Column("gap", lambda step: step["gap"], text_gap),
        Column("seconds", lambda step: step["seconds"], "{:.2f}".format, keep=-3),
        Column("status", lambda step: step["status"], keep=-2),
    ]
    return Table("Steps of the ε-constraint lexicographic algorithm", record["steps"], columns)


def front_table(front: dict[str, Any], share: bool) -> Table[Row]:
    """The Pareto front: one row per point."""
    points = front["points"]

    def entry(point: Row, objective: str) -> Row:
        return next(row for row in point["objectives"] if row["objective"] == objective)

    columns: list[Column[Row]] = [Column("ε", lambda point: point["epsilon"], "{:.3g}".format)]
    for objective in [row["objective"] for row in points[0]["objectives"]]:
        for title, key, keep in (("", "value", 0), (" bound", "bound", -3)):
            columns.append(
                Column(
                    f"{_NAMES.get(objective, objective)}{title}",
                    lambda point, name=objective, key=key: _text(name, entry(point, name)[key], share),
                    str,
                    keep,
                )
            )
    columns += [
        Column[Row](
            "gap", lambda point: max(e["gap"] for e in point["objectives"] if e["gap"] is not None), text_gap, -1
        ),
        Column[Row]("variance, data", lambda point: point["exact_variance"]["data"], "{:.4g}".format, keep=-4),
    ]
    return Table(f"Pareto front: {len(points)} points", points, columns)


def front_text(front: dict[str, Any]) -> str:
    """A sentence about the omitted values of ε, and about points that are not proven within the gap."""
    grid = len(front["points"]) + len(front["left_out"])
    same = sum(entry["reason"] == "same point" for entry in front["left_out"])
    open_points = [f"{p['epsilon']:.3g}" for p in front["points"] if p["statuses"] != ["optimal"]]
    return (
        f"{grid} values of ε, {front['solved']} solved; {same} gave the same point as another, "
        f"{len(front['left_out']) - same} were dominated. "
        + (
            f"Stopped by allocation.time_limit_s at ε = {', '.join(open_points)}: better points may exist there, down "
            "to the bounds."
            if open_points
            else "Every step is proven within allocation.gap."
        )
    )


def what_if_table(record: dict[str, Any]) -> Table[Kind]:
    """The clients whose budgets must be raised, and to how much. Clients with the same figures share a row."""
    by_figures: dict[tuple[int, int], list[str]] = {}
    for client in record["clients"]:
        by_figures.setdefault((client["budget_bytes"], client["needed_bytes"]), []).append(client["name"])

    def label(kind: Kind) -> str:
        names = kind[1]
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} like it"

    columns: list[Column[Kind]] = [
        Column("client", label),
        Column("budget", lambda kind: kind[0][0], "{:,}".format, keep=-1),
        Column("needed", lambda kind: kind[0][1], "{:,}".format),
        Column("missing", lambda kind: kind[0][1] - kind[0][0], "{:,}".format, keep=-2),
    ]
    return Table("What if: budgets in bytes, with the smallest total raise", list(by_figures.items())[:_NAMED], columns)


def what_if_text(record: dict[str, Any]) -> str:
    """The same in words, and as one factor for the whole fleet."""
    least = "" if record["proven"] else " (enough; not proven to be the smallest)"
    factor = f"{math.ceil(1e6 * record['factor']) / 1e6:.6f}"  # rounded up, because less may not be enough
    if record["feasible"]:
        return f"The budgets are large enough. They would be, too, with every budget at {factor} of its size{least}."
    kinds = len({(client["budget_bytes"], client["needed_bytes"]) for client in record["clients"]})
    more = f" {kinds - _NAMED} more kinds of clients are in --json." if kinds > _NAMED else ""
    return (
        f"{record['missing_bytes']:,} bytes missing in all, on {len(record['clients'])} clients{least}.{more} Another "
        f"way: every budget × {factor}."
    )


def _objective(title: str, key: str, share: bool, keep: int = 0) -> Column[Row]:
    """A column with a figure of objectives, each in its unit."""
    return Column(title, lambda row: _text(row["objective"], row[key], share), str, keep)


def _name(objective: str, share: bool) -> str:
    what = {
        "convergence": "convergence",
        "vram": "worst share of budget" if share else "bytes of the fleet",
        "time": "seconds of a round",
    }
    return f"{_NAMES.get(objective, objective)} {what.get(objective, '')}".strip()


def _text(objective: str, value: float | None, share: bool) -> str | None:
    if value is None:
        return None
    if objective == "vram":
        return f"{100 * value:.5g} %" if share else _exact_bytes(value)
    return f"{value:.5g} s" if objective == "time" else f"{value:.5g}"


def _exact_bytes(count: float) -> str:
    """Bytes with seven digits, because two answers may differ by one block of one client in a whole fleet."""
    for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.7g} {name}"
    return f"{count:.0f} B"
