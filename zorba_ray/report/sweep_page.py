"""The page of a sweep."""

import shlex
from pathlib import Path

from zorba_ray.artifacts.sweep import SweepRecord
from zorba_ray.report import sweep_plots, sweep_tables
from zorba_ray.report.groups import best_trial, group_trials, swept_keys
from zorba_ray.report.page import Detail, Page, Section
from zorba_ray.report.parallel import parallel
from zorba_ray.report.remake import flat_table, provenance_table


def sweep_page(sweep: SweepRecord, folder: Path) -> Page:
    """`folder` is where the page will lie: links are relative to it."""
    keys, groups = swept_keys(sweep), group_trials(sweep)
    others = {other.name: other for other in (*sweep.metrics[1:], sweep_tables.FLEET_VRAM)}
    fronts = [sweep_plots.front(sweep, groups, keys, other) for other in others.values()]
    drawn = [*fronts, sweep_plots.curves(sweep, keys), parallel(sweep, keys), *sweep_plots.effects(sweep, keys)]
    found = [one for one in drawn if one is not None]
    best = sweep_tables.configurations_table(sweep, groups)
    failed = sweep_tables.failures(sweep, folder)
    sections = [
        Section("Best" if sweep.status == "finished" else "Best so far", tables=[best] if best else ()),
        Section(
            "Figures",
            plots=found,
            note="Point at a trial, or reach a figure with Tab and its points with the arrow keys: it lights up in all "
            "figures and tables.",
        ),
        Section("Trials", tables=[sweep_tables.trials_table(sweep, folder)]),
        Section("Failed trials", failures=failed),
    ]
    return Page(
        title=sweep.name,
        lead=sweep_tables.sentence(sweep),
        warnings=sweep_tables.warnings(sweep),
        tiles=sweep_tables.tiles(sweep, groups),
        sections=[s for s in sections if s.tables or s.plots or s.failures],
        details=_details(sweep),
        interactive=True,
    )


def _details(sweep: SweepRecord) -> list[Detail]:
    commands = [("as it was typed", shlex.join(sweep.command))] if sweep.command else []
    commands.append(("this page anew", shlex.join(["zorba-ray", "report", str(sweep.path)])))
    started = f"Started {sweep.started}. " if sweep.started else ""
    found = [
        Detail("Command", f"{started}Settings of the sweep and of its runs stand below.", commands, (), opened=True),
        Detail(
            "Sweep", "", (), [flat_table("Space", sweep.space), flat_table("Settings of the sweep", sweep.settings)]
        ),
        Detail("Base settings", "What no key of the space changes.", (), [flat_table("Base settings", sweep.base)]),
    ]
    best = best_trial(sweep)
    first = best if best is not None and best.run is not None else next((t for t in sweep.trials if t.run), None)
    if first is not None and first.run is not None:
        found.append(Detail("Provenance", f"Of trial {first.entry.trial}.", (), [provenance_table(first.run)]))
    return found
