"""The tables that stand at the end of a run and of a sweep."""

import sys
from pathlib import Path
from typing import Any

from zorba_ray.cli.terminal import Console
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import NONE, text_bytes, text_figure
from zorba_ray.units import format_bytes, format_seconds


def profile_table(record: dict[str, Any]) -> Table[dict[str, Any]]:
    """Where the rounds' time went, from profile.json; parts that took none are left out."""
    rounds, workers, parts = record["rounds"], record["workers"], list(record["parts"].values())
    total = {"what": "all", "seconds": record["wall_s"], "cpu_s": sum(part["cpu_s"] for part in parts), "share": 1.0}
    beside = record["worker_commits"]
    where = "one process" if workers is None else f"{workers} workers"
    return Table(
        f"Profile: rounds {rounds['first']}–{rounds['last']}, {where}; "
        f"{format_seconds(record['start_s'])} before them, {format_seconds(record['check_s'])} of it to check pairs",
        [part for part in (*parts, total, beside) if part["seconds"] or part["cpu_s"]],
        [
            Column("part", lambda part: part["what"]),
            Column("seconds", lambda part: part["seconds"], "{:.3f}".format),
            Column("share", lambda part: part.get("share"), "{:.1%}".format),
            Column(
                "ms per round",
                lambda part: 1000 * part["seconds"] / rounds["count"] if rounds["count"] else None,
                "{:.2f}".format,
            ),
            Column("CPU s", lambda part: part["cpu_s"], "{:.3f}".format),
        ],
    )


def budgets_table(rows: list[dict[str, Any]]) -> Table[dict[str, Any]]:
    """Peak against budget of the fullest client of each class, from summary.json."""
    sources = sorted({row["source"] for row in rows})

    def peak(row: dict[str, Any]) -> str:
        return format_bytes(row["peak_bytes"]) + ("" if len(sources) == 1 else f" {row['source']}")

    def live(row: dict[str, Any]) -> str | None:
        return f"frozen {row['frozen']}, master {row['master']}" if row["frozen"] else None

    def part(row: dict[str, Any]) -> str | None:
        return f"{row['largest_part']} {format_bytes(row['largest_part_bytes'])}" if row["largest_part"] else None

    return Table(
        f"VRAM peak of each class's fullest client, {' and '.join(sources)}",
        rows,
        [
            Column("class", lambda row: f"{row['clients']} × {row['class']}"),
            Column("blocks live", live),
            Column("peak", peak),
            Column("budget", lambda row: row["budget_bytes"], format_bytes),
            Column("share", lambda row: row["share"], "{:.1%}".format),
            Column("largest part", part),
        ],
    )


def print_summary(summary: dict[str, Any], path: Path) -> None:
    """The last lines of a run, on stdout."""
    console = Console(width=None if sys.stdout.isatty() else 120)

    def figure(label: str, key: str, form: str) -> tuple[str, str, str]:
        start, end = summary[f"start_{key.removeprefix('final_')}"], summary[key]
        return label, NONE if start is None else form.format(start), NONE if end is None else form.format(end)

    rows = [
        figure("validation loss", "final_loss", "{:.4f}"),
        figure("validation accuracy", "final_accuracy", "{:.3f}"),
        figure("test accuracy", "test_accuracy", "{:.3f}"),
        *(
            (f"bytes per client and round, {way}", "", text_bytes(summary[f"bytes_{way}_per_client_round"]))
            for way in ("up", "down")
        ),
        ("ledger", "", format_bytes(summary["ledger_bytes"])),
        ("time (CPU)", "", f"{format_seconds(summary['wall_s'])} ({format_seconds(summary['cpu_s'])})"),
    ]
    table = Table(
        f"{summary['method']}: {summary['rounds_done']} rounds, {summary['status']}",
        rows,
        [
            Column("figure", lambda row: row[0]),
            Column("start", lambda row: row[1], str),
            Column("end", lambda row: row[2], str),
        ],
    )
    console.print(table.terminal(console.width))
    if summary["budgets"]:
        console.print(budgets_table(summary["budgets"]).terminal(console.width))
    for text in summary["warnings"]:
        console.print(f"warning: {text}", style="yellow", soft_wrap=True)
    console.print(f"θ SHA-256 {summary['weights_sha256']}", soft_wrap=True)
    console.print(f"report {path / 'report.html'}", soft_wrap=True)


def print_trials(state: Any) -> None:
    """All trials of a sweep on stdout: the finished ones first, the best on top."""
    first = state.metrics[0]
    sign = 1 if first["mode"] == "min" else -1
    names = [metric["name"] for metric in state.metrics]
    names += [name for name in ("validation_accuracy", "fleet_vram_bytes") if name not in names]

    def rank(trial: Any) -> tuple[bool, bool, float]:
        value = trial.figures.get(first["name"])
        return trial.status != "finished", value is None, sign * (value or 0.0)

    figures: list[Column[Any]] = [
        Column(
            name.replace("_", " "),
            lambda trial, name=name: trial.figures.get(name),
            lambda value, name=name: text_figure(name, value),
        )
        for name in names
    ]
    table = Table(
        f"{state.name}: {len(state.trials)} trials, {state.status}, {format_seconds(state.wall_s)}",
        sorted(state.trials, key=rank),
        [Column("trial", lambda trial: trial.name), Column("status", lambda trial: trial.status), *figures],
    )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table.terminal(console.width))
