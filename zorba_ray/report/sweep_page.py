"""The page of a sweep: headline, best configurations, figures, trials, failures."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import quote

from zorba_ray.artifacts import Provenance
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.figure import Plot
from zorba_ray.report.page import Failure, Page, Section, Tile
from zorba_ray.report.run_tables import memory_label
from zorba_ray.report.settings import provenance_table, settings_table, typed_command
from zorba_ray.report.sweep_figures import curves_plot, effect_plot, front_plot, parallel_plot
from zorba_ray.report.trials import (
    FLEET_VRAM,
    SEED,
    VRAM,
    Group,
    best_trial,
    figure_name,
    figure_title,
    front_names,
    group_trials,
    key_name,
    spread_of,
    status_text,
    swept_keys,
    values_text,
)
from zorba_ray.tables import Cell, Column, Link, Spread, Table, with_range
from zorba_ray.tables.text import NONE, text_figure, text_seconds, text_swept

_STATUSES = ("finished", "stopped", "running", "pending", "failed")


def sweep_page(sweep: SweepRecord, folder: Path) -> Page:
    """`folder` is where the page will lie: links are relative to it."""
    groups = group_trials(sweep)
    sections = [
        Section("Best" if sweep.status == "finished" else "Best so far", tables=configurations(sweep, groups)),
        Section(
            "Figures",
            "Point at a trial, or reach a figure with Tab and its points with the arrow keys: it lights up in all "
            "figures and tables.",
            sweep_plots(sweep, groups),
        ),
        Section("Trials", tables=[trials_table(sweep, folder)]),
        Section("Failed trials", failures=failures(sweep, folder)),
    ]
    return Page(
        title=sweep.name,
        lead=sentence(sweep),
        warnings=warnings(sweep),
        tiles=tiles(sweep, groups),
        sections=[section for section in sections if not section.empty],
        again=again(sweep),
        interactive=True,
    )


def sweep_plots(sweep: SweepRecord, groups: Sequence[Group]) -> list[Plot]:
    """All figures that have something to show. Seeds repeat a trial and are no effect, unless nothing else is swept."""
    keys = swept_keys(sweep)
    others = {other.name: other for other in (*sweep.metrics[1:], FLEET_VRAM)}
    plots = [front_plot(sweep, groups, keys, other, memory_sources(sweep)) for other in others.values()]
    plots += [curves_plot(sweep, keys), parallel_plot(sweep, keys)]
    plots += [effect_plot(sweep, key, keys) for key in keys if key != SEED or len(keys) == 1]
    return [plot for plot in plots if plot is not None]


def sentence(sweep: SweepRecord) -> str:
    """What was asked and tried, in one sentence after the question."""
    counts = {key: len({trial.entry.values.get(key) for trial in sweep.trials}) for key in sweep.space}
    space = ", ".join(f"{key} ({count} value{'s' if count > 1 else ''})" for key, count in counts.items())
    metric = sweep.metrics[0]
    question = f"{sweep.question.rstrip()} " if sweep.question else ""
    return (
        f"{question}{len(sweep.trials)} trials over {space or 'nothing'}: {statuses_text(sweep)}; ranked by the "
        f"{'lowest' if metric.mode == 'min' else 'highest'} {figure_name(metric.name)}."
    )


def statuses_text(sweep: SweepRecord) -> str:
    """As in '20 finished, 3 stopped early, 1 failed'."""
    counts = Counter(trial.entry.status for trial in sweep.trials)
    names = dict.fromkeys([*(name for name in _STATUSES if counts[name]), *counts])
    return ", ".join(f"{counts[name]} {status_text(name)}" for name in names) or "none"


def warnings(sweep: SweepRecord) -> list[str]:
    """For the top of the page."""
    lines = []
    if sweep.status == "interrupted":
        lines.append("This sweep was interrupted; what follows is what it had.")
    elif sweep.status != "finished":
        lines.append(
            f"sweep.json says: {sweep.status}. The sweep is under way, or its process was killed; write this page anew "
            "for its news."
        )
    if failed := sweep.with_status("failed"):
        lines.append(f"{len(failed)} of {len(sweep.trials)} trials failed: see Failed trials.")
    for trial in sweep.trials:
        if trial.fault and trial.entry.status != "failed":
            lines.append(f"Trial {trial.entry.trial}: its files cannot be read: {trial.fault}")
    versions = {_version(trial) for trial in sweep.trials if trial.run is not None}
    if len(versions) > 1:
        lines.append(f"The trials were not run by one version of the code: {'; '.join(sorted(versions))}.")
    return lines


def tiles(sweep: SweepRecord, groups: Sequence[Group]) -> list[Tile]:
    """The headline."""
    metric, keys, best = sweep.metrics[0], swept_keys(sweep), best_trial(sweep)
    name = figure_name(metric.name)
    value, note = NONE, "no trial has a value yet"
    if best is not None:
        value = text_figure(metric.name, best.figure(metric.name))
        note = f"trial {best.entry.trial}: {values_text(best.entry.values, keys) or best.entry.name}"
        if not best.finished:
            note += f"; {status_text(best.entry.status)}, round {best.round}"
    cpu, memory = spread_of(sweep.trials, "cpu_s"), spread_of(sweep.trials, VRAM)
    total = f"CPU time of {cpu.count} trials {text_seconds(cpu.mean * cpu.count)}" if cpu else ""
    settled = sum(group.spread(metric.name) is not None for group in groups)
    front = f"{len(front_names(groups, metric))} of {settled}"
    return [
        Tile(f"Best {name}", value, note),
        _seeds(groups, metric.name),
        Tile("Trials finished", f"{len(sweep.with_status('finished'))} of {len(sweep.trials)}", statuses_text(sweep)),
        Tile("Total time", text_seconds(sweep.wall_s), total),
        Tile("Fleet VRAM", _range(memory) if memory else NONE, memory_sources(sweep)),
        Tile("On the Pareto front", front, f"configurations: {name}, fleet VRAM"),
    ]


def _seeds(groups: Sequence[Group], metric: str) -> Tile:
    spreads = [spread for group in groups if (spread := group.spread(metric)) and spread.count > 1]
    if not spreads:
        return Tile("Spread over seeds", NONE, "no two finished trials differ in the seed only")
    widths = [spread.high - spread.low for spread in spreads]
    counts = sorted({spread.count for spread in spreads})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    note = f"median range over {seeds} seeds; the widest is {text_figure(metric, max(widths))}"
    return Tile("Spread over seeds", text_figure(metric, median(widths)), note)


def _range(memory: Spread) -> str:
    return " – ".join(dict.fromkeys(text_figure(VRAM, end) for end in (memory.low, memory.high)))


def memory_sources(sweep: SweepRecord) -> str:
    """Where the VRAM figures come from."""
    return "; ".join(sorted({memory_label(trial.run) for trial in sweep.trials if trial.run is not None}))


def configurations(sweep: SweepRecord, groups: Sequence[Group], limit: int = 12) -> list[Table]:
    """The best configurations, each over its seeds; none before the first has ended."""
    settled = [group for group in groups if group.spread(sweep.metrics[0].name)]
    if not settled:
        return []
    keys = [key for key in swept_keys(sweep) if key != SEED]
    letters = front_names(groups, sweep.metrics[0])
    test = "test_accuracy" if _known(sweep, "test_accuracy") else "test_loss"
    names = [metric.name for metric in sweep.metrics]
    names += [name for name in (test, VRAM) if name not in names and _known(sweep, name)]
    columns: list[Column[Group]] = [
        Column("Rank", lambda group: settled.index(group) + 1, str),
        Column("Front", lambda group: letters.get(groups.index(group), "")),
        *_key_columns(sweep, keys),
        Column("Finished", lambda group: f"{len(group.settled)} / {len(group.trials)}", str),
    ]
    for name in names:
        text = partial(text_figure, name)
        show = with_range(text) if name != VRAM else (lambda spread, text=text: text(spread.mean))
        columns.append(Column(figure_title(name), lambda group, name=name: group.spread(name), show))
    note = "Mean over the finished seeds, and their range. Front: its letter in the figure of the Pareto front."
    if len(settled) > limit:
        note += f" The first {limit} of {len(settled)}; the rest stand among the trials."
    trials = [" ".join(map(str, group.numbers)) for group in settled[:limit]]
    return [Table("Best configurations", settled[:limit], columns, note, trials)]


def trials_table(sweep: SweepRecord, folder: Path) -> Table:
    """All trials; `folder` is where the page lies."""
    keys = swept_keys(sweep)
    more = ("validation_accuracy", "test_loss", "test_accuracy", VRAM, "worst_share", "bytes_up_per_client_round")
    more += ("bytes_down_per_client_round", "wall_s")
    names = [metric.name for metric in sweep.metrics]
    names += [name for name in more if name not in names and _known(sweep, name)]
    columns: list[Column[TrialRecord]] = [
        Column("Trial", lambda trial: Link(trial.entry.trial, address(trial.path / "report.html", folder)), str),
        *_key_columns(sweep, keys),
        Column("Status", lambda trial: status_text(trial.entry.status)),
        Column("Rounds", lambda trial: f"{trial.round} / {trial.entry.rounds or NONE}", str),
        *(
            Column(figure_title(name), lambda t, name=name: t.figure(name), partial(text_figure, name))
            for name in names
        ),
        Column("SHA-256 of θ", lambda trial: (trial.entry.weights_sha256 or NONE)[:12]),
        Column("Run directory", lambda trial: trial.entry.run),
    ]
    note = "VRAM share: the largest of a budget. Bytes: per client and round. SHA-256 of θ: its first 12 digits."
    if any((trial.path / "report.html").is_file() for trial in sweep.trials):
        note = f"A trial's number leads to its report. {note}"
    return Table("Trials", sweep.trials, columns, note, [str(trial.entry.trial) for trial in sweep.trials])


def failures(sweep: SweepRecord, folder: Path) -> list[Failure]:
    """Trials that failed, with error and files."""
    keys, found = swept_keys(sweep), []
    for trial in sweep.with_status("failed"):
        entry = trial.entry
        files = {"Log": sweep.path / entry.log} if entry.log else {}
        files["Settings"] = trial.path / "config.resolved.json"
        links = [(what, Link(os.path.relpath(path, sweep.path), address(path, folder))) for what, path in files.items()]
        title = f"Trial {entry.trial}: {values_text(entry.values, keys) or entry.name}, round {trial.round}"
        found.append(Failure(title, entry.error or trial.fault or "no error on record", links))
    return found


def address(path: Path, folder: Path) -> str:
    """Relative address of a file from a page in `folder`; empty where there is no such file."""
    return quote(os.path.relpath(path, folder).replace(os.sep, "/")) if path.is_file() else ""


def again(sweep: SweepRecord) -> list[Section]:
    """Commands, settings and provenance."""
    report = ("this page anew", shlex.join(["zorba-ray", "report", str(sweep.path)]))
    started = f"Started {sweep.started}. " if sweep.started else ""
    lead = f"{started}Settings of the sweep and of its runs stand below."
    tables = [settings_table("Space", sweep.space), settings_table("Settings of the sweep", sweep.settings)]
    sections = [
        Section("Command", lead, commands=[*typed_command(sweep.command), report]),
        Section("Sweep", tables=tables),
        Section(
            "Base settings", "What no key of the space changes.", tables=[settings_table("Base settings", sweep.base)]
        ),
    ]
    best = best_trial(sweep)
    shown = best if best is not None and best.run is not None else next((t for t in sweep.trials if t.run), None)
    if shown is not None and shown.run is not None:
        tables = [provenance_table(shown.run)]
        sections.append(Section("Provenance", f"Of trial {shown.entry.trial}.", tables=tables))
    return sections


def _known(sweep: SweepRecord, name: str) -> bool:
    return any(trial.figure(name) is not None for trial in sweep.trials)


def _key_columns(sweep: SweepRecord, keys: Sequence[str]) -> list[Column]:
    """Of trials or groups of them: numbers flush right, text and labels left."""
    columns = []
    for key in keys:
        words = any(isinstance(trial.entry.values.get(key), str) for trial in sweep.trials)

        def get(trial: TrialRecord | Group, key: str = key) -> Cell:
            value = (trial.values if isinstance(trial, Group) else trial.entry.values).get(key)
            return "none" if value is None else value

        columns.append(Column(key_name(key, keys), get, None if words else text_swept))
    return columns


def _version(trial: TrialRecord) -> str:
    made = trial.run.provenance if trial.run else Provenance()
    commit = str(made.git.get("commit"))[:12] if made.git else "none"
    return f"zorba-ray {made.versions.get('zorba-ray')}, commit {commit}"
