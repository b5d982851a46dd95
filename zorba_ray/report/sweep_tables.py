"""Rows of a sweep's page, as text: headline, configurations, trials, failures."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from urllib.parse import quote

from zorba_ray.artifacts import Provenance
from zorba_ray.artifacts.campaigns import Metric
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.groups import SEED, Group, Spread, best_trial, cost, pareto_front, spread_of, swept_keys
from zorba_ray.report.numbers import NONE, text_figure, text_seconds, text_swept
from zorba_ray.report.page import Cell, Failure, Table, Tile
from zorba_ray.report.tables import memory_label
from zorba_ray.report.words import VRAM, figure_name, key_name, status_text, values_text

FLEET_VRAM = Metric(name=VRAM, mode="min")
"""What a metric is traded against."""

_STATUSES = ("finished", "stopped", "running", "pending", "failed")


def sentence(sweep: SweepRecord) -> str:
    """What was asked and tried, in one sentence after the question."""
    keys = list(sweep.space)
    counts = {key: len({trial.entry.values.get(key) for trial in sweep.trials}) for key in keys}
    space = ", ".join(f"{key} ({count} value{'s' if count > 1 else ''})" for key, count in counts.items())
    metric = sweep.metrics[0]
    wanted = "lowest" if metric.mode == "min" else "highest"
    question = f"{sweep.question.rstrip()} " if sweep.question else ""
    return (
        f"{question}{len(sweep.trials)} trials over {space or 'nothing'}: {statuses_text(sweep)}; "
        f"ranked by the {wanted} {figure_name(metric.name)}."
    )


def statuses_text(sweep: SweepRecord) -> str:
    """As in '20 finished, 3 stopped early, 1 failed'."""
    counts = Counter(trial.entry.status for trial in sweep.trials)
    names = [*(name for name in _STATUSES if counts[name]), *(name for name in counts if name not in _STATUSES)]
    return ", ".join(f"{counts[name]} {'stopped early' if name == 'stopped' else name}" for name in names) or "none"


def warnings(sweep: SweepRecord) -> list[str]:
    """For the top of the page."""
    found = []
    if sweep.status == "interrupted":
        found.append("This sweep was interrupted; what follows is what it had.")
    elif sweep.status != "finished":
        found.append(
            f"sweep.json says: {sweep.status}. The sweep is under way, or its process was killed; write this page anew "
            "for its news."
        )
    if failed := sweep.with_status("failed"):
        found.append(f"{len(failed)} of {len(sweep.trials)} trials failed: see Failed trials.")
    for trial in sweep.trials:
        if trial.fault and trial.entry.status != "failed":
            found.append(f"Trial {trial.entry.trial}: its files cannot be read: {trial.fault}")
    versions = {_version(trial) for trial in sweep.trials if trial.run is not None}
    if len(versions) > 1:
        found.append(f"The trials were not run by one version of the code: {'; '.join(sorted(versions))}.")
    return found


def tiles(sweep: SweepRecord, groups: Sequence[Group]) -> list[Tile]:
    """The headline."""
    metric, keys, best = sweep.metrics[0], swept_keys(sweep), best_trial(sweep)
    name = figure_name(metric.name)
    shown = [Tile(f"Best {name}", NONE, "no trial has a value yet")]
    if best is not None:
        note = f"trial {best.entry.trial}: {values_text(best.entry.values, keys) or best.entry.name}"
        if not best.finished:
            note += f"; {status_text(best)}, round {best.round}"
        shown = [Tile(f"Best {name}", text_figure(metric.name, best.figure(metric.name)), note)]
    shown.append(_seeds(groups, metric.name))
    finished = len(sweep.with_status("finished"))
    shown.append(Tile("Trials finished", f"{finished} of {len(sweep.trials)}", statuses_text(sweep)))
    cpu = spread_of(sweep.trials, "cpu_s")
    total = f"CPU time of {cpu.count} trials {text_seconds(cpu.mean * cpu.count)}" if cpu else ""
    shown.append(Tile("Total time", text_seconds(sweep.wall_s), total))
    memory = spread_of(sweep.trials, VRAM)
    shown.append(Tile("Fleet VRAM", _range(memory, VRAM) if memory else NONE, memory_note(sweep)))
    on_front = len(front_names(groups, metric))
    settled = sum(group.spread(metric.name) is not None for group in groups)
    shown.append(Tile("On the Pareto front", f"{on_front} of {settled}", f"configurations: {name}, fleet VRAM"))
    return shown


def memory_note(sweep: SweepRecord) -> str:
    """Where the VRAM figures come from."""
    sources = sorted({memory_label(trial.run) for trial in sweep.trials if trial.run is not None})
    return "; ".join(sources)


def _seeds(groups: Sequence[Group], metric: str) -> Tile:
    spreads = [spread for group in groups if (spread := group.spread(metric)) and spread.count > 1]
    if not spreads:
        return Tile("Spread over seeds", NONE, "no two finished trials differ in the seed only")
    widths = [spread.high - spread.low for spread in spreads]
    counts = sorted({spread.count for spread in spreads})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    note = f"median range over {seeds} seeds; the widest is {text_figure(metric, max(widths))}"
    return Tile("Spread over seeds", text_figure(metric, median(widths)), note)


def _range(spread: Spread, name: str) -> str:
    low, high = text_figure(name, spread.low), text_figure(name, spread.high)
    return low if low == high else f"{low} – {high}"


def front_names(groups: Sequence[Group], metric: Metric, other: Metric = FLEET_VRAM) -> dict[int, str]:
    """Index of a group on the front of `other` and `metric` -> its letter, by rising cost in `other`."""
    known = [
        (index, (cost(x.mean, other), cost(y.mean, metric)))
        for index, group in enumerate(groups)
        if (x := group.spread(other.name)) and (y := group.spread(metric.name))
    ]
    front = pareto_front([point for _, point in known])
    return {known[place][0]: _letters(order) for order, place in enumerate(front)}


def _letters(number: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    text = ""
    while number >= 0:
        number, rest = divmod(number, 26)
        text, number = chr(65 + rest) + text, number - 1
    return text


def configurations_table(sweep: SweepRecord, groups: Sequence[Group], limit: int = 12) -> Table | None:
    """The best configurations, each over its seeds; None before the first has ended."""
    settled = [group for group in groups if group.spread(sweep.metrics[0].name)]
    if not settled:
        return None
    keys = [key for key in swept_keys(sweep) if key != SEED]
    letters = front_names(groups, sweep.metrics[0])
    figures = [metric.name for metric in sweep.metrics]
    test = "test_accuracy" if _known(sweep, "test_accuracy") else "test_loss"
    figures += [name for name in (test, VRAM) if name not in figures and _known(sweep, name)]
    rows: list[list[str | Cell]] = []
    for index, group in enumerate(settled[:limit]):
        cells: list[str | Cell] = [Cell(str(index + 1), index + 1), letters.get(groups.index(group), "")]
        cells += [_value(group.values.get(key)) for key in keys]
        done, all_of = len(group.settled), len(group.trials)
        cells.append(Cell(f"{done} / {all_of}", done))
        for name in figures:
            spread = group.spread(name)
            text = text_figure(name, spread.mean if spread else None)
            if spread and spread.low < spread.high and name != VRAM:
                text += f" ({_range(spread, name)})"
            cells.append(Cell(text, spread.mean if spread else None))
        rows.append(cells)
    columns = ["Rank", "Front", *(key_name(key, keys) for key in keys), "Finished", *map(_title, figures)]
    note = "Mean over the finished seeds, and their range. Front: its letter in the figure of the Pareto front."
    if len(settled) > limit:
        note += f" The first {limit} of {len(settled)}; the rest stand among the trials."
    numeric = frozenset({0, *range(2 + len(keys), len(columns))})
    names = [" ".join(map(str, group.numbers)) for group in settled[:limit]]
    return Table("Best configurations", columns, rows, numeric, note, names)


def trials_table(sweep: SweepRecord, folder: Path) -> Table:
    """All trials; `folder` is where the page lies."""
    keys = swept_keys(sweep)
    figures = [metric.name for metric in sweep.metrics]
    more = ("validation_accuracy", "test_loss", "test_accuracy", VRAM, "worst_share", "bytes_up_per_client_round")
    more += ("bytes_down_per_client_round", "wall_s")
    figures += [name for name in more if name not in figures and _known(sweep, name)]
    rows: list[list[str | Cell]] = []
    for trial in sweep.trials:
        entry, number = trial.entry, trial.entry.trial
        cells: list[str | Cell] = [Cell(str(number), number, address(trial.path / "report.html", folder))]
        cells += [_value(entry.values.get(key)) for key in keys]
        cells += [status_text(trial), Cell(f"{trial.round} / {entry.rounds or NONE}", trial.round)]
        cells += [Cell(text_figure(name, trial.figure(name)), trial.figure(name)) for name in figures]
        cells += [(entry.weights_sha256 or NONE)[:12], entry.run]
        rows.append(cells)
    columns = ["Trial", *(key_name(key, keys) for key in keys), "Status", "Rounds", *map(_title, figures)]
    first = 2 + len(keys)
    numeric = frozenset({0, *range(first, len(columns))})
    linked = any(isinstance(row[0], Cell) and row[0].href for row in rows)
    note = "VRAM share: the largest of a budget. Bytes: per client and round. SHA-256 of θ: its first 12 digits."
    if linked:
        note = f"A trial's number leads to its report. {note}"
    names = [str(trial.entry.trial) for trial in sweep.trials]
    return Table("Trials", [*columns, "SHA-256 of θ", "Run directory"], rows, numeric, note, names)


def failures(sweep: SweepRecord, folder: Path) -> list[Failure]:
    """Trials that failed, with error and files."""
    keys = swept_keys(sweep)
    found = []
    for trial in sweep.with_status("failed"):
        entry = trial.entry
        log = sweep.path / entry.log if entry.log else None
        files = [("Log", log)] if log is not None else []
        files.append(("Settings", trial.path / "config.resolved.json"))
        shown = [(what, Cell(os.path.relpath(path, sweep.path), href=address(path, folder))) for what, path in files]
        title = f"Trial {entry.trial}: {values_text(entry.values, keys) or entry.name}, round {trial.round}"
        found.append(Failure(title, entry.error or trial.fault or "no error on record", shown))
    return found


def address(path: Path, folder: Path) -> str:
    """Relative address of a file from a page in `folder`; empty where there is no such file."""
    return quote(os.path.relpath(path, folder).replace(os.sep, "/")) if path.is_file() else ""


def _known(sweep: SweepRecord, name: str) -> bool:
    return any(trial.figure(name) is not None for trial in sweep.trials)


def _value(value: int | float | str | None) -> str | Cell:
    return Cell(text_swept(value), float(value)) if isinstance(value, (int, float)) else text_swept(value)


def _title(name: str) -> str:
    text = figure_name(name)
    return text[0].upper() + text[1:]


def _version(trial: TrialRecord) -> str:
    made = trial.run.provenance if trial.run else Provenance()
    commit = str(made.git.get("commit"))[:12] if made.git else "none"
    package = made.versions.get("zorba-ray")
    return f"zorba-ray {package}, commit {commit}"
