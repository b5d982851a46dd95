"""What `zorba-ray allocate` prints under the heat map: objectives with their bounds, steps, front, what-if."""

import math
import os
import sys
from typing import Any

from rich.table import Table

from zorba_ray.cli.fitted import Column, fitted_table
from zorba_ray.cli.terminal import Console
from zorba_ray.units import format_bytes

_NAMED = 12
"""Kinds of clients in the what-if table."""
_NAMES = {"convergence": "f1", "vram": "f2", "time": "f3"}


def print_answer(name: str, answers: dict[str, Any]) -> None:
    """One of "allocation", "what_if" and "front", on stdout, in the width of the terminal (120 on a pipe)."""
    fixed = 120 if not sys.stdout.isatty() and "COLUMNS" not in os.environ else None
    console = Console(width=fixed)
    width, tree = console.width, answers[name]
    if name == "allocation":
        print_map(console, tree)
        console.print(fleet_text(tree))
        for table in (objectives_table, variance_table, *([steps_table] if tree["steps"] else [])):
            console.print(table(tree, width))
        if tree["steps"]:
            console.print(
                "bound here: proven, nothing that keeps the constraint of the objective's last step has less; bound at "
                "all: nothing has less. gap: (value − bound) / value, of f2 without what the bases take. greedy: the "
                "heuristic under the same ε-constraint."
            )
    elif name == "what_if":
        if tree["clients"]:
            console.print(what_if_table(tree, width))
        console.print(what_if_text(tree))
    else:
        console.print(front_table(tree, answers["allocation"]["vram_objective"] == "worst_share", width))
        console.print(front_text(tree))


def print_map(console: Console, record: dict[str, Any]) -> None:
    """Who activates which blocks, and what each holds against its budget; `record` is allocation.json."""
    # Here, as reports load matplotlib, which `--help` must not wait for.
    from zorba_ray.artifacts import record_of
    from zorba_ray.artifacts.allocation import AllocationRecord
    from zorba_ray.cli.heat_map import heat_map, legend

    allocation = record_of(AllocationRecord, record, "allocation")
    console.print(heat_map(allocation, console.width))
    console.print(legend(allocation, console.width), highlight=False)


def fleet_text(record: dict[str, Any]) -> str:
    """The fleet's bytes, against everything active, and where the others go."""
    total = len(record["clients"]) * record["bytes_all_active"]
    parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in record["memory_parts"].items())
    return (
        f"Fleet: {format_bytes(record['f2_bytes'])}; with all blocks active everywhere {format_bytes(total)} "
        f"({1 - record['f2_bytes'] / total:.1%} less). One client with nothing active: {parts}. "
        f"Solver: {record['solver']}."
    )


def objectives_table(record: dict[str, Any], width: int) -> Table:
    """Each objective: its value, what is proven about it, and the heuristic's answer beside it."""
    rows = record["objectives"]
    greedy = record["greedy"]
    share = any(row["objective"] == "vram" for row in rows) and record["vram_objective"] == "worst_share"

    def text(row: dict[str, Any], value: float | None) -> str:
        return _text(row["objective"], value, share)

    columns = [
        Column("objective", [_name(row["objective"], share) for row in rows], left=True),
        # Without a value: f1 where a block is on no client.
        Column("value", ["∞" if row["value"] is None else text(row, row["value"]) for row in rows]),
    ]
    if record["steps"]:
        columns += [
            Column("bound here", [text(row, row["bound"]) for row in rows], keep=-1),
            Column("gap", [gap_text(row["gap"]) for row in rows]),
            Column("bound at all", [text(row, row["best"]) for row in rows], keep=-2),
        ]
    if greedy is not None:
        columns.append(Column("greedy", [text(row, greedy["objectives"][row["objective"]]) for row in rows], keep=-1))
    return fitted_table(f"Objectives at ε = {record['epsilon']:g} (f1: 1 = all active)", columns, width)


def variance_table(record: dict[str, Any], width: int) -> Table:
    """The exact variance that f1 stands for, for both weightings, against the weighting of this run."""
    exact, greedy = record["exact_variance"], record["greedy"]
    kinds = ("data", "inverse_noise")
    columns = [
        Column("weights", [f"{kind} (this run)" if kind == record["weights"] else kind for kind in kinds], left=True),
        Column("variance", [f"{exact[kind]:.5g}" for kind in kinds]),
        Column("all active", [f"{exact['all_active'][kind]:.5g}" for kind in kinds], keep=-2),
        Column("ratio", [_ratio(exact[kind], exact["all_active"][kind]) for kind in kinds]),
    ]
    if greedy is not None:
        columns.append(Column("greedy", [f"{greedy['exact_variance'][kind]:.5g}" for kind in kinds], keep=-1))
    energies = "equal in all blocks, 1 in all" if exact["energies"] == "uniform" else "as measured"
    return fitted_table(
        f"Exact variance of a round with per-client seeds, gradient energies {energies}", columns, width
    )


def steps_table(record: dict[str, Any], width: int) -> Table:
    """What the solver did and proved, step by step."""
    steps = record["steps"]
    share = record["vram_objective"] == "worst_share"

    def text(step: dict[str, Any], key: str) -> str:
        return _text(step["objective"], step[key], share)

    columns = [
        Column("step", [step["name"].replace("_", " ") for step in steps], left=True),
        Column("subject to", [step["constraint"] for step in steps], keep=-4, left=True),
        Column("value", [text(step, "value") for step in steps]),
        Column("bound", [text(step, "bound") for step in steps], keep=-1),
        Column("gap", [gap_text(step["gap"]) for step in steps]),
        Column("seconds", [f"{step['seconds']:.2f}" for step in steps], keep=-3),
        Column("status", [step["status"] for step in steps], keep=-2, left=True),
    ]
    return fitted_table("Steps of the ε-constraint lexicographic algorithm", columns, width)


def front_table(front: dict[str, Any], share: bool, width: int) -> Table:
    """The Pareto front: one row per undominated point."""
    points = front["points"]
    by_name = [{entry["objective"]: entry for entry in point["objectives"]} for point in points]
    columns = [Column("ε", [f"{point['epsilon']:.3g}" for point in points])]
    for objective in map(str, by_name[0]):
        entries = [found[objective] for found in by_name]
        name = _NAMES.get(objective, objective)
        columns += [
            Column(name, [_text(objective, entry["value"], share) for entry in entries]),
            Column(f"{name} bound", [_text(objective, entry["bound"], share) for entry in entries], keep=-3),
        ]
    columns += [
        Column(
            "gap",
            [gap_text(max(entry["gap"] for entry in found.values() if entry["gap"] is not None)) for found in by_name],
            keep=-1,
        ),
        Column("fullest", [f"{point['worst_share']:.1%}" for point in points], keep=-4),
        Column("blocks per client", [_blocks(point) for point in points], keep=-2),
        Column("variance, data", [f"{point['exact_variance']['data']:.4g}" for point in points], keep=-4),
        Column("inverse_noise", [f"{point['exact_variance']['inverse_noise']:.4g}" for point in points], keep=-4),
    ]
    return fitted_table(f"Pareto front: {len(points)} points", columns, width)


def front_text(front: dict[str, Any]) -> str:
    """What the table leaves out, and which points are not proven to the gap asked for."""
    grid = len(front["points"]) + len(front["left_out"])
    same = sum(entry["reason"] == "same point" for entry in front["left_out"])
    open_points = [f"{p['epsilon']:.3g}" for p in front["points"] if p["statuses"] != ["optimal"]]
    return (
        f"{grid} values of ε, {front['solved']} solved; {same} gave a point again, {len(front['left_out']) - same} "
        "were dominated. "
        + (
            f"Stopped by allocation.time_limit_s at ε = {', '.join(open_points)}: the true front may lie lower there, "
            "down to the bounds."
            if open_points
            else "Every step is proven to allocation.gap."
        )
    )


def what_if_table(record: dict[str, Any], width: int) -> Table:
    """The clients whose budgets must rise, and to what; those that are alike are one row."""
    alike: dict[tuple[int, int], list[str]] = {}
    for client in record["clients"]:
        alike.setdefault((client["budget_bytes"], client["needed_bytes"]), []).append(client["name"])
    shown = list(alike.items())[:_NAMED]
    columns = [
        Column("client", [names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} like it"
                          for _, names in shown], left=True),
        Column("budget", [f"{budget:,}" for (budget, _), _ in shown], keep=-1),
        Column("would do", [f"{needed:,}" for (_, needed), _ in shown]),
        Column("missing", [f"{needed - budget:,}" for (budget, needed), _ in shown], keep=-2),
    ]  # fmt: skip
    return fitted_table("What if: the smallest budgets in bytes, least raise in all", columns, width)


def what_if_text(record: dict[str, Any]) -> str:
    """The same in words, and by one factor for the whole fleet."""
    least = "" if record["proven"] else " (enough; not proven to be the least)"
    factor = f"{math.ceil(1e6 * record['factor']) / 1e6:.6f}"  # rounded down it might not do
    if record["feasible"]:
        return f"The fleet is feasible as it is, and would be with every budget at {factor} of its size{least}."
    kinds = len({(client["budget_bytes"], client["needed_bytes"]) for client in record["clients"]})
    more = f" {kinds - _NAMED} more kinds of clients are in --json." if kinds > _NAMED else ""
    return (
        f"{record['missing_bytes']:,} bytes missing in all, on {len(record['clients'])} clients{least}.{more} Or every "
        f"budget × {factor}."
    )


def gap_text(gap: float | None) -> str:
    """A relative gap in percent; what rounding leaves counts as 0."""
    if gap is None:
        return "unknown"
    return "0 %" if gap < 1e-9 else f"{100 * gap:.2g} %"


def _ratio(value: float, whole: float) -> str:
    return f"{value / whole:.4g}" if whole > 0 else "–"  # a probe may find no energy at all


def _blocks(point: dict[str, Any]) -> str:
    low, high = point["blocks_min"], point["blocks_max"]
    return f"{low}–{high}, mean {point['blocks_mean']:.3g}" if low < high else str(low)


def _name(objective: str, share: bool) -> str:
    what = {
        "convergence": "convergence",
        "vram": "worst share of budget" if share else "bytes of the fleet",
        "time": "seconds of a round",
    }
    return f"{_NAMES.get(objective, objective)} {what.get(objective, '')}".strip()


def _text(objective: str, value: float | None, share: bool) -> str:
    if value is None:
        return "–"
    if objective == "vram":
        return f"{100 * value:.5g} %" if share else _bytes(value)
    return f"{value:.5g} s" if objective == "time" else f"{value:.5g}"


def _bytes(count: float) -> str:
    """Seven digits: two answers may differ by one block of one client in a whole fleet."""
    for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.7g} {name}"
    return f"{count:.0f} B"
