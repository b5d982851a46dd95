"""The page of a comparison of methods, from compare.json alone."""

import shlex
from collections import Counter
from pathlib import Path

from zorba_ray.contest.records import STATE_FILE, Contest
from zorba_ray.contest.texts import grids, interval, loss, percent, points, seeds_text, signed
from zorba_ray.report.contest_plots import curves, differences, finals
from zorba_ray.report.load import read_json
from zorba_ray.report.numbers import NONE, text_loss, text_seconds
from zorba_ray.report.page import Cell, Detail, Page, Section, Table, Tile
from zorba_ray.report.records import parse
from zorba_ray.report.remake import flat_table
from zorba_ray.report.sweep_tables import address

_TEXT_COLUMNS = {"Method", "Seeds", "Rates tried: final loss", "Lower final loss"}


def is_contest(path: str | Path) -> bool:
    """Whether a directory is a comparison's."""
    return (Path(path) / STATE_FILE).is_file()


def contest_page(path: Path, folder: Path) -> Page:
    """`folder` is where the page will lie: links are relative to it.

    Raises:
        RunDirError: compare.json is missing or damaged.
    """
    state = parse(Contest, read_json(path / STATE_FILE, "comparison"), str(path / STATE_FILE))
    drawn = [*curves(state), finals(state), differences(state)]
    sections = [
        Section("Figures", plots=[plot for plot in drawn if plot is not None]),
        Section(
            "Tables",
            tables=[
                Table(grid.title, grid.columns, grid.rows, _numeric(grid.columns), grid.note) for grid in grids(state)
            ],
        ),
        Section("Runs", tables=[_runs(state, path, folder)]),
    ]
    return Page(
        title=f"{state.name}: {', '.join(one.method for one in state.contestants)}",
        lead=_lead(state),
        warnings=_warnings(state),
        tiles=_tiles(state),
        sections=[section for section in sections if section.plots or section.tables],
        details=_details(state, path),
        source="the comparison",
    )


def _lead(state: Contest) -> str:
    seeds, model, data = state.settings["seeds"], state.base["model"]["path"], state.base["data"]["path"]
    first = state.contestants[0]
    return (
        f"{len(state.contestants)} methods fine-tuned the model {model} on the data {data} with {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'} each: the same partition and batches for the same seed, and as many "
        f"forward passes of a client. Differences are taken to {first.method}. {text_seconds(state.wall_s)} in all."
    )


def _warnings(state: Contest) -> list[str]:
    found = []
    left = Counter(cell.status for cell in state.cells)
    waiting = left["pending"] + left["running"]
    if state.status != "finished" or waiting:
        found.append(f"This comparison is unfinished: {waiting} of {len(state.cells)} compared runs are to come.")
    for one in state.contestants:
        bad = [cell for cell in state.cells_of(one.method) if cell.status in ("diverged", "failed")]
        if bad:
            found.append(f"{one.method}: {seeds_text(state, one.method)}. Means are over the finished seeds.")
    ends = [f"{one.method} {one.rate:g}" for one in state.contestants if one.at_end]
    if ends:
        found.append(
            f"Chosen learning rates at an end of their ladder: {', '.join(ends)}. A wider one may hold a better."
        )
    return found


def _tiles(state: Contest) -> list[Tile]:
    known = [
        (outcome.figures["final_loss"].mean or 0.0, outcome)
        for outcome in state.outcomes
        if "final_loss" in outcome.figures
    ]
    if not known:
        return []
    _, best = min(known, key=lambda own: own[0])
    found = [Tile("Lowest mean final loss", best.method, interval(best.figures["final_loss"], loss))]
    for outcome in state.outcomes:
        accuracy = outcome.figures.get("test_accuracy")
        value = interval(accuracy, percent) if accuracy else interval(outcome.figures.get("final_loss"), loss)
        difference = outcome.differences.get("test_accuracy" if accuracy else "final_loss")
        note = f"{interval(difference, points if accuracy else signed)} against {state.contestants[0].method}"
        title = f"{outcome.method}: {'test accuracy' if accuracy else 'final loss'}"
        found.append(Tile(title, value, note if difference else ""))
    return found


def _runs(state: Contest, path: Path, folder: Path) -> Table:
    outcomes = {outcome.method: outcome for outcome in state.outcomes}
    rows = []
    for cell in state.cells:
        figures = outcomes[cell.method].figures if cell.method in outcomes else {}
        final = figures["final_loss"].values.get(cell.seed) if "final_loss" in figures else None
        report = path / cell.run / "report.html"
        status = cell.status + (f" after round {cell.round}" if cell.status == "diverged" else "")
        error = (cell.error or "").splitlines()
        rows.append(
            [
                cell.method,
                str(cell.seed),
                status,
                text_loss(final),
                (cell.weights_sha256 or NONE)[:12],
                Cell(cell.run, href=address(report, folder)),
                error[0] if error else "",
            ]
        )
    columns = ["Method", "Seed", "Status", "Final loss", "SHA-256 of θ", "Run", "Error"]
    return Table("Compared runs", columns, rows, frozenset({1, 3}), "SHA-256: its first 12 digits.")


def _details(state: Contest, path: Path) -> list[Detail]:
    commands = [("as it was typed", shlex.join(state.command))] if state.command else []
    commands.append(("this page anew", shlex.join(["zorba-ray", "report", str(path)])))
    started = (
        f"Started {state.started}, {state.sessions} session{'s' if state.sessions > 1 else ''}."
        if state.started
        else ""
    )
    own = [
        Detail(one.method, "Settings in which it differs from zorba's.", (), [flat_table(one.method, one.settings)])
        for one in state.contestants
        if one.settings
    ]
    return [
        Detail("Command", started, commands, [flat_table("Settings of the comparison", state.settings)], opened=True),
        *own,
        Detail("zorba's settings", "The configuration.", (), [flat_table("Settings", state.base)]),
    ]


def _numeric(columns: object) -> frozenset[int]:
    assert isinstance(columns, list)
    return frozenset(place for place, name in enumerate(columns) if name not in _TEXT_COLUMNS)
