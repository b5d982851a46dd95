"""Tables of several runs side by side."""

from collections.abc import Sequence

from zorba_ray.artifacts import Run
from zorba_ray.report.numbers import NONE, text_bytes, text_percent
from zorba_ray.report.page import Table
from zorba_ray.report.remake import settings
from zorba_ray.report.tables import change, memory_label, tiles


def comparison_table(runs: Sequence[Run], names: Sequence[str]) -> Table:
    """One row per run."""
    sources = [memory_label(run) for run in runs]
    alike = len(set(sources)) == 1
    rows = []
    for run, name, source in zip(runs, names, sources, strict=True):
        shown = {tile.title: tile.value for tile in tiles(run)}
        shares = [client.share for client in run.allocation.clients if client.share is not None]
        rows.append(
            [
                name,
                run.status.replace("_", " "),
                f"{run.rounds_done} / {run.config.rounds}",
                change(run.split("validation"), "loss"),
                change(run.split("test"), "accuracy"),
                shown["Sent up per client and round"],
                shown["Sent down per client and round"],
                text_percent(max(shares)) if shares else "no budgets",
                text_bytes(run.allocation.f2_bytes) + ("" if alike else f" ({source})"),
                shown["Wall time"],
                run.summary.weights_sha256[:12] if run.summary else NONE,
            ]
        )
    columns = ["Run", "Status", "Rounds", "Validation loss", "Test accuracy", "Up", "Down", "VRAM share", "Fleet VRAM"]
    columns += ["Wall time", "SHA-256 of θ"]
    note = (
        "Up and down: per client and round. VRAM share: the largest of a budget. SHA-256: its first 12 digits. "
        f"VRAM figures are {sources[0] if alike else 'of the source named beside them'}."
    )
    return Table("Runs", columns, rows, frozenset(range(2, 10)), note)


def differences_table(runs: Sequence[Run], names: Sequence[str]) -> Table | None:
    """Settings that are not the same in all runs; None if all are."""
    every = [settings(run) for run in runs]
    keys = sorted({key for tree in every for key in tree if key != "name"})
    rows = [
        [key, *(tree.get(key, NONE) for tree in every)] for key in keys if len({tree.get(key) for tree in every}) > 1
    ]
    return Table("Settings that differ", ["Setting", *names], rows) if rows else None
