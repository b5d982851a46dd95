"""The page of a sweep: headline, best configurations, figures, trials."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from zorba_ray.artifacts import Provenance
from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.config import SCORES
from zorba_ray.report.curves import apart_warning
from zorba_ray.report.measures import memory_label
from zorba_ray.report.page import Page, PageSection, Tile
from zorba_ray.report.settings import provenance_table, settings_table, typed_command
from zorba_ray.report.sweep_figures import sweep_plots, tasks_of
from zorba_ray.report.trials import (
    SEED,
    VRAM,
    Group,
    best_trial,
    figure_title,
    group_trials,
    key_name,
    ranked,
    spread_of,
    swept_keys,
    values_text,
)
from zorba_ray.tables import Cell, Column, Link, Table, with_interval
from zorba_ray.tables.text import NONE, figure_name, text_figure, text_seconds, text_swept


def sweep_page(sweep: SweepRecord, folder: Path) -> Page:
    """The page of a sweep. Links are relative to `folder`, in which the page will be."""
    groups, tasks = group_trials(sweep), tasks_of(sweep)
    return Page(
        title=sweep.name,
        lead=sweep_sentence(sweep),
        warnings=[*apart_warning(list(tasks), "trials"), *sweep_warnings(sweep)],
        tiles=sweep_tiles(sweep, groups),
        sections=[
            PageSection("Best" if sweep.status == "finished" else "Best so far", tables=configurations(sweep, groups)),
            *(
                PageSection(task or "Figures", plots=sweep_plots(part, group_trials(part), memory_sources(part)))
                for task, part in tasks.items()
            ),
            PageSection("Trials", tables=[trials_table(sweep, folder)]),
        ],
        again=again(sweep),
    )


def sweep_sentence(sweep: SweepRecord) -> str:
    """The question of the sweep, and a sentence about its trials."""
    counts = {key: len({trial.entry.values.get(key) for trial in sweep.trials}) for key in sweep.space}
    space = ", ".join(f"{key} ({count} value{'s' if count > 1 else ''})" for key, count in counts.items())
    metric = sweep.metrics[0]
    question = f"{sweep.question.rstrip()} " if sweep.question else ""
    return (
        f"{question}{len(sweep.trials)} trials over {space or 'nothing'}: {statuses_text(sweep)}; ranked by the "
        f"{'lowest' if metric.mode == 'min' else 'highest'} {figure_name(metric.name)}."
    )


def statuses_text(sweep: SweepRecord) -> str:
    """As '20 finished, 3 stopped, 1 failed'."""
    counts = Counter(trial.entry.status for trial in sweep.trials)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


def sweep_warnings(sweep: SweepRecord) -> list[str]:
    """The warnings at the top of the page."""
    lines = []
    if sweep.status == "interrupted":
        lines.append("This sweep was interrupted; the page shows the results so far.")
    elif sweep.status != "finished":
        lines.append(
            f"The status in sweep.json is {sweep.status}: the sweep goes on, or its process was killed. Write this "
            "page again for later results."
        )
    if failed := sweep.with_status("failed"):
        lines.append(f"{len(failed)} of {len(sweep.trials)} trials failed: see their rows.")
    if diverged := sweep.with_status("diverged"):
        lines.append(f"{len(diverged)} of {len(sweep.trials)} trials diverged: a resume does not repeat them.")
    for trial in sweep.trials:
        if trial.fault and not trial.broken:
            lines.append(f"Trial {trial.entry.trial}: its files cannot be read: {trial.fault}")
    attacked = [trial for trial in sweep.trials if trial.run is not None and trial.run.config.adversaries]
    if attacked:
        kinds = sorted({trial.run.config.attacked_text for trial in attacked if trial.run is not None})
        lines.append(f"{len(attacked)} of {len(sweep.trials)} trials are under attack: {' | '.join(kinds)}.")
    versions = {_version(trial) for trial in sweep.trials if trial.run is not None}
    if len(versions) > 1:
        lines.append(f"The trials were run by different versions of the code: {'; '.join(sorted(versions))}.")
    return lines


def sweep_tiles(sweep: SweepRecord, groups: Sequence[Group]) -> list[Tile]:
    """The headline figures. With several seeds the best value is that of the first row of `configurations`."""
    metric, best = sweep.metrics[0], best_trial(sweep)
    value, note = NONE, "no trial has a value yet"
    if best is not None:
        value = text_figure(metric.name, best.figure(metric.name))
        note = f"trial {best.entry.trial}: {values_text(best.entry.values, swept_keys(sweep)) or best.entry.name}"
        if not best.finished:
            note += f"; {best.entry.status}, round {best.round}"
    if groups and len(groups[0].settled) > 1 and (spread := groups[0].spread(metric.name)):
        note = f"{values_text(groups[0].values, swept_keys(sweep)) or 'all trials'}; {spread.count} seeds. Best single "
        note += f"trial: {best.entry.trial if best else NONE}, {value}"
        value = with_interval(partial(text_figure, metric.name))(spread)
    cpu, memory = spread_of(sweep.trials, "cpu_s"), spread_of(sweep.trials, VRAM)
    total = f"CPU time of {cpu.count} trials {text_seconds(cpu.mean * cpu.count)}" if cpu else ""
    ends = dict.fromkeys(text_figure(VRAM, end) for end in (memory.low, memory.high)) if memory else [NONE]
    return [
        Tile(f"Best {figure_name(metric.name)}", value, note),
        Tile("Trials finished", f"{len(sweep.with_status('finished'))} of {len(sweep.trials)}", statuses_text(sweep)),
        Tile("Total time", text_seconds(sweep.wall_s), total),
        Tile("Fleet VRAM", " – ".join(ends), memory_sources(sweep)),
    ]


def memory_sources(sweep: SweepRecord) -> str:
    """The source of the VRAM figures."""
    return memory_label(*(trial.run for trial in sweep.trials if trial.run is not None))


def configurations(sweep: SweepRecord, groups: Sequence[Group], limit: int = 12) -> list[Table]:
    """The table of the best configurations, each over its seeds; empty before the first trial has ended."""
    settled = [group for group in groups if group.spread(sweep.metrics[0].name)]
    if not settled:
        return []
    test = "test_accuracy" if _known(sweep, "test_accuracy") else "test_loss"
    names = [metric.name for metric in sweep.metrics]
    names += [name for name in (test, VRAM, "privacy_epsilon") if name not in names and _known(sweep, name)]
    columns: list[Column[Group]] = [
        Column("Rank", lambda group: settled.index(group) + 1, str),
        *_key_columns(sweep, [key for key in swept_keys(sweep) if key != SEED]),
        Column("Finished", lambda group: f"{len(group.settled)} / {len(group.trials)}", str),
    ]
    for name in names:
        show = with_interval(partial(text_figure, name))
        columns.append(Column(figure_title(name), lambda group, name=name: group.spread(name), show))
    note = "Mean over the finished seeds ± half of its 95 % interval; for one or two seeds, their values."
    if len(settled) > limit:
        note += f" These are the first {limit} of {len(settled)}; the table of trials has all."
    return [Table("Best configurations", settled[:limit], columns, note)]


def trials_table(sweep: SweepRecord, folder: Path) -> Table:
    """The table of all trials, the best first, those without a value last. Links are relative to `folder`."""
    more = ("validation_accuracy", "test_loss", "test_perplexity", "test_accuracy", "test_macro_f1")
    more += (*(f"test_{name}" for name in SCORES), VRAM, "worst_share", "privacy_epsilon")
    more += ("bytes_up_per_client_round", "bytes_down_per_client_round", "wall_s")
    names = [metric.name for metric in sweep.metrics]
    names += [name for name in more if name not in names and _known(sweep, name)]

    def status(trial: TrialRecord) -> Link | str:
        entry = trial.entry
        if not trial.broken:
            return entry.status
        text = f"{entry.status}: {entry.error or trial.fault or 'no error was recorded'}"
        return Link(text, address(sweep.path / entry.log, folder) if entry.log else "")

    columns: list[Column[TrialRecord]] = [
        Column("Trial", lambda trial: Link(trial.entry.trial, address(trial.path / "report.html", folder)), str),
        *_key_columns(sweep, swept_keys(sweep)),
        Column("Status", status),
        Column("Rounds", lambda trial: f"{trial.round} / {trial.entry.rounds or NONE}", str),
        *(
            Column(figure_title(name), lambda t, name=name: t.figure(name), partial(text_figure, name))
            for name in names
        ),
        Column("SHA-256 of θ", lambda trial: (trial.entry.weights_sha256 or NONE)[:12]),
        Column("Run directory", lambda trial: trial.entry.run),
    ]
    note = (
        "The number of a trial is a link to its report, an error is a link to its log. VRAM share: the largest share "
        "of a budget. Bytes: per client and round. SHA-256 of θ: its first 12 digits."
    )
    return Table("Trials", ranked(sweep), columns, note)


def address(path: Path, folder: Path) -> str:
    """Relative address of a file from a page in `folder`; empty if there is no such file."""
    return quote(os.path.relpath(path, folder).replace(os.sep, "/")) if path.is_file() else ""


def again(sweep: SweepRecord) -> list[PageSection]:
    """Commands, settings and provenance."""
    report = ("writes this page again", shlex.join(["zorba-ray", "report", str(sweep.path)]))
    started = f"Started {sweep.started}." if sweep.started else ""
    tables = [
        settings_table("Space", sweep.space),
        settings_table("Settings of the sweep", sweep.settings),
        settings_table("Base settings", sweep.base),
    ]
    commands = [*typed_command(sweep.command), report]
    best = best_trial(sweep)
    shown = best if best is not None and best.run is not None else next((t for t in sweep.trials if t.run), None)
    if shown is not None and shown.run is not None:
        tables.append(provenance_table(shown.run))
        started += f" Provenance is of trial {shown.entry.trial}."
    return [PageSection("Command, settings and provenance", started, tables=tables, commands=commands)]


def _known(sweep: SweepRecord, name: str) -> bool:
    return any(trial.figure(name) is not None for trial in sweep.trials)


def _key_columns(sweep: SweepRecord, keys: Sequence[str]) -> list[Column]:
    """Columns for swept keys of trials or groups: numbers aligned right, text and labels left."""
    columns = []
    for key in keys:
        words = any(isinstance(trial.entry.values.get(key), str) for trial in sweep.trials)

        def get(trial: TrialRecord | Group, key: str = key) -> Cell:
            value = (trial.values if isinstance(trial, Group) else trial.entry.values).get(key)
            return "none" if value is None else value

        columns.append(Column(key_name(key, keys), get, None if words else text_swept))
    return columns


def _version(trial: TrialRecord) -> str:
    provenance = trial.run.provenance if trial.run else Provenance()
    commit = str(provenance.git.get("commit"))[:12] if provenance.git else "none"
    return f"zorba-ray {provenance.versions.get('zorba-ray')}, commit {commit}"
