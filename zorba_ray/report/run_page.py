"""The page of one run, and of several side by side."""

from collections.abc import Sequence

from zorba_ray.artifacts import Run
from zorba_ray.artifacts.run import run_names
from zorba_ray.report.measures import memory_label
from zorba_ray.report.page import Page, Section
from zorba_ray.report.run_figures import compared_plots, run_plots
from zorba_ray.report.run_tables import change, run_tables, sent, sentence, tiles, warnings
from zorba_ray.report.settings import differences_table, provenance_table, run_commands, settings_table
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import text_bytes, text_percent, text_seconds


def run_page(run: Run) -> Page:
    """Of one run."""
    return Page(
        title=run.config.name,
        lead=sentence(run),
        warnings=warnings(run),
        tiles=tiles(run),
        digest=run.summary.weights_sha256 if run.summary else None,
        sections=[Section("Figures", plots=run_plots(run)), Section("Tables", tables=run_tables(run))],
        again=[_again("Settings and provenance", run)],
    )


def runs_page(runs: Sequence[Run]) -> Page:
    """Of several."""
    names = run_names(runs)
    tables = [runs_table(list(zip(names, runs, strict=True))), differences_table(runs, names)]
    return Page(
        title=f"{len(runs)} runs",
        lead=f"Comparison of {', '.join(names)}.",
        warnings=[f"{name}: {text}" for name, run in zip(names, runs, strict=True) for text in warnings(run)],
        sections=[
            Section("Figures", plots=compared_plots(runs, names)),
            Section("Tables", tables=[table for table in tables if table.items]),
        ],
        again=[_again(name, run) for name, run in zip(names, runs, strict=True)],
    )


def runs_table(named: Sequence[tuple[str, Run]]) -> Table:
    """One row per run, of (name, run)."""
    source = memory_label(*(run for _, run in named))
    alike = all(memory_label(run) == source for _, run in named)

    def share(run: Run) -> float | str:
        shares = [client.share for client in run.allocation.clients if client.share is not None]
        return max(shares, default="no budgets")

    def vram(run: Run) -> str:
        return text_bytes(run.allocation.f2_bytes) + ("" if alike else f" ({memory_label(run)})")

    return Table(
        "Runs",
        named,
        [
            Column("Run", lambda pair: pair[0]),
            Column("Status", lambda pair: pair[1].status.replace("_", " ")),
            Column("Rounds", lambda pair: f"{pair[1].rounds_done} / {pair[1].config.rounds}", str),
            Column("Validation loss", lambda pair: change(pair[1].split("validation"), "loss"), str),
            Column("Test accuracy", lambda pair: change(pair[1].split("test"), "accuracy"), str),
            Column("Up", lambda pair: sent(pair[1], "up"), str),
            Column("Down", lambda pair: sent(pair[1], "down"), str),
            Column("VRAM share", lambda pair: share(pair[1]), text_percent),
            Column("Fleet VRAM", lambda pair: vram(pair[1]), str),
            Column("Wall time", lambda pair: pair[1].summary and pair[1].summary.wall_s, text_seconds),
            Column("SHA-256 of θ", lambda pair: pair[1].summary and pair[1].summary.weights_sha256[:12]),
        ],
        "Up and down: per client and round. VRAM share: the largest of a budget. SHA-256: its first 12 digits. "
        f"VRAM figures are {source if alike else 'of the source named beside them'}.",
    )


def _again(name: str, run: Run) -> Section:
    tables = [settings_table("Settings", run.config.resolved()), provenance_table(run)]
    return Section(name, sentence(run), tables=tables, commands=run_commands(run))
