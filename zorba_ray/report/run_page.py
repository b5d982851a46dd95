"""The page of one run, and of several side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from zorba_ray.artifacts import Run
from zorba_ray.artifacts.run import run_names
from zorba_ray.config import SCORES
from zorba_ray.report.allocation_pictures import allocation_plots
from zorba_ray.report.answers import answer_plots, answered_rows_table
from zorba_ray.report.curves import Line, apart, apart_warning, curves_plot
from zorba_ray.report.figure import BLUE, GREY, PALE, RED, Plot, plot, whole_rounds
from zorba_ray.report.headline import change, interval_text, run_sentence, run_tiles, run_warnings, sent
from zorba_ray.report.measures import headline_figure, memory_label
from zorba_ray.report.memory_figure import memory_plot
from zorba_ray.report.page import Page, PageSection
from zorba_ray.report.partition_figure import partition_plot
from zorba_ray.report.run_tables import run_tables
from zorba_ray.report.settings import differences_table, provenance_table, run_commands, settings_table
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import figure_name, text_bytes, text_percent, text_seconds


def run_page(run: Run, rows: bool = True) -> Page:
    """The page of one run; `rows`: with test rows."""
    answered = [table for table in [answered_rows_table(run)] if rows and table.items]
    return Page(
        title=run.config.name,
        lead=run_sentence(run),
        warnings=run_warnings(run),
        tiles=run_tiles(run),
        sections=[
            PageSection("Figures", plots=run_plots(run)),
            PageSection("Answers", tables=answered),
            PageSection("Tables", tables=run_tables(run)),
        ],
        again=[_again("Settings and provenance", run)],
    )


def runs_page(runs: Sequence[Run]) -> Page:
    """The page of several runs side by side."""
    names = run_names(runs)
    lines = apart([Line(name, [run]) for name, run in zip(names, runs, strict=True)])
    tables = [runs_table(list(zip(names, runs, strict=True))), differences_table(runs, names)]
    return Page(
        title=f"{len(runs)} runs",
        lead=f"Runs side by side: {', '.join(names)}.",
        warnings=[
            *apart_warning(list(lines), "runs"),
            *(f"{name}: {text}" for name, run in zip(names, runs, strict=True) for text in run_warnings(run)),
        ],
        sections=[
            *(
                PageSection(task if len(lines) > 1 else "Figures", plots=compared_plots(alike))
                for task, alike in lines.items()
            ),
            PageSection("Tables", tables=[table for table in tables if table.items]),
        ],
        again=[_again(name, run) for name, run in zip(names, runs, strict=True)],
    )


def runs_table(named: Sequence[tuple[str, Run]]) -> Table:
    """The table with one row per (name, run)."""
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
            Column("Validation loss", lambda pair: change(pair[1].until_kept("validation"), "loss"), str),
            Column("Test accuracy", lambda pair: change(pair[1].until_kept("test"), "accuracy"), str),
            Column("95 % interval", lambda pair: interval_text(pair[1].until_kept("test")), str),
            Column("Up", lambda pair: sent(pair[1], "up"), str),
            Column("Down", lambda pair: sent(pair[1], "down"), str),
            Column("VRAM share", lambda pair: share(pair[1]), text_percent),
            Column("Fleet VRAM", lambda pair: vram(pair[1]), str),
            Column("Wall time", lambda pair: pair[1].summary and pair[1].summary.wall_s, text_seconds),
            Column("SHA-256 of θ", lambda pair: pair[1].summary and pair[1].summary.weights_sha256[:12]),
        ],
        "Up and down: bytes per client and round. The interval is over the rows of the test split. VRAM share: the "
        "largest share of a budget. SHA-256: its first 12 digits. "
        f"VRAM figures are {source if alike else 'of the source in brackets'}.",
    )


def _again(name: str, run: Run) -> PageSection:
    tables = [settings_table("Settings", run.config.resolved()), provenance_table(run)]
    return PageSection(name, run_sentence(run), tables=tables, commands=run_commands(run))


def run_plots(run: Run) -> list[Plot]:
    """All figures of one run that have data."""
    lines = [Line(split, [run], split, interval=True) for split in ("validation", "test")]
    plots = [
        memory_plot(run.allocation, memory_label(run)),
        curves_plot("Accuracy", lines, "accuracy", note=_rows_note(run)),
        _scores_plot("Answers", lines),
        curves_plot("Reward", lines, "reward"),
        curves_plot("Loss", lines),
        *answer_plots(run),
        _training(run),
        partition_plot(run),
        *allocation_plots(run.allocation),
    ]
    return [plot for plot in plots if plot is not None]


def _rows_note(run: Run) -> str:
    """A note with the number of rows behind the accuracies; empty if it is not recorded."""
    rows = {split: run.split(split)[-1].items for split in ("validation", "test") if run.split(split)}
    counts = [f"{count:,} {split} rows" for split, count in rows.items() if count]
    return (
        f"Band and bars: 95 % intervals over the {' and '.join(counts)} (Wilson). Dashed: validation before round 1."
        if counts
        else ""
    )


def compared_plots(lines: Sequence[Line]) -> list[Plot]:
    """Validation curves of several runs with the same model and data, in common figures."""
    plots = [curves_plot(f"Validation {field}", lines, field) for field in ("loss", "accuracy", "reward")]
    plots.append(_scores_plot("Validation answers", lines))
    return [plot for plot in plots if plot is not None]


def _scores_plot(title: str, lines: Sequence[Line]) -> Plot | None:
    """The headline score of answers that the model writes; None of runs in which it writes none."""
    name = headline_figure(lines[0].runs[0])
    return curves_plot(f"{title}: {figure_name(name)}", lines, name) if name in SCORES else None


def _training(run: Run) -> Plot | None:
    """A figure with the training loss above and the scalars below."""
    losses = _points(run, "loss")
    if not len(losses):
        return None

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        (x, y), width = losses.T, max(1, len(losses) // 12)
        top.plot(x, y, color=BLUE if width == 1 else PALE, linewidth=1, label="round")
        if width > 1:
            smooth = np.convolve(y, np.ones(width) / width, "valid")
            top.plot(x[width - 1 :], smooth, color=BLUE, label=f"mean of {width}")
            top.legend(loc="upper right", ncols=2)
        bottom.plot(*_points(run, "scalar_rms").T, color=RED, label="rms")
        bottom.plot(*_points(run, "scalar_mean").T, color=GREY, linestyle="--", label="mean")
        bottom.legend(loc="upper right", ncols=2)
        bottom.set_ylim(top=1.35 * bottom.get_ylim()[1])
        top.set_ylabel("training loss" if run.config.task_kind != "reward" else "−mean reward")
        bottom.set(xlabel="round", ylabel="scalars ρ")
        whole_rounds(bottom)

    return plot("Training loss and scalars", draw, 3.8)


def _points(run: Run, field: str) -> np.ndarray:
    """float64 [k, 2]: (round, value) of the rounds that have the value."""
    points = [(record.round, value) for record in run.rounds if (value := getattr(record, field)) is not None]
    return np.array(points, dtype=np.float64).reshape(-1, 2)
