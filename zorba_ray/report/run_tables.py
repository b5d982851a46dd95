"""The tables of a run's page: clients, solver steps, assignments, time, faults, costs."""

from collections.abc import Sequence

import numpy as np

from zorba_ray.artifacts import Budget, Profile, Run
from zorba_ray.artifacts.allocation import AssignedClient, SolverStep
from zorba_ray.report.answers import by_client_table, labels_table, metrics_table
from zorba_ray.report.headline import met_text, summary_table
from zorba_ray.report.measures import memory_label
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import text_bytes, text_gap, text_percent, text_seconds, text_value


def run_tables(run: Run) -> list[Table]:
    """All tables of one run; those without rows are left out."""
    tables = [summary_table(run), metrics_table(run), labels_table(run), by_client_table(run), clients_table(run)]
    tables += [steps_table(run), assignments_table(run), blocks_table(run)]
    tables += [profile_table(run.profile), budgets_table(run.summary.budgets if run.summary else ()), faults_table(run)]
    return [table for table in tables if table.items]


def clients_table(run: Run) -> Table:
    """Who holds what, and which share of its budget."""
    columns: list[Column[AssignedClient]] = [
        Column("Client", lambda client: client.client, str),
        Column("Class", lambda client: client.kind),
        Column("Examples", lambda client: client.examples, text_value),
        Column("Active blocks", lambda client: _ranges(client.blocks)),
        Column("VRAM", lambda client: client.bytes, text_bytes),
        Column("Budget", lambda client: client.budget_bytes, text_bytes),
        Column("Share", lambda client: client.share, text_percent),
    ]
    note = f"{met_text(run).capitalize()}. VRAM figures are {memory_label(run)}."
    return Table("Clients", run.allocation.clients, columns, note)


def steps_table(run: Run) -> Table:
    """What the solver proved."""
    a = run.allocation

    def text(step: SolverStep, value: float | None) -> str:
        in_bytes = step.objective == "vram" and (step.value or 0) > 1  # a share of a budget is not
        return text_bytes(value) if in_bytes else text_value(value)

    columns: list[Column[SolverStep]] = [
        Column("Step", lambda step: step.name.replace("_", " ")),
        Column("Objective", lambda step: step.objective),
        Column("Constraint", lambda step: step.constraint),
        Column("Value", lambda step: text(step, step.value), str),
        Column("Bound", lambda step: text(step, step.bound), str),
        Column("Gap", lambda step: step.gap, text_gap),
        Column("Time", lambda step: step.seconds, text_seconds),
        Column("Status", lambda step: step.status),
    ]
    budgets = any(client.budget_bytes is not None for client in a.clients)
    worst = f", fullest client {text_percent(a.worst_share)} of its budget" if budgets else ""
    note = (
        f"ε = {a.epsilon:g}; f1 = {_f1(a.f1)} (1: every client activates every block); f2 = {text_bytes(a.f2_bytes)} "
        f"over the fleet{worst}; VRAM figures are {memory_label(run)}; proven gap {text_gap(a.gap)}, "
        f"of memory without what the bases take; solver: {a.solver}."
    )
    return Table("Allocation", a.steps, columns, note)


def assignments_table(run: Run) -> Table:
    """When the blocks were assigned and why; empty where they were assigned once."""
    assignments = run.allocation.assignments
    return Table(
        "Assignments of the blocks",
        assignments if len(assignments) > 1 else (),
        [
            Column("From round", lambda new: new.round, str),
            Column("Why", lambda new: new.reason),
            Column("Clients that changed", lambda new: new.clients_changed, str),
            Column("f1", lambda new: _f1(new.f1), str),
            Column("Fleet VRAM", lambda new: new.f2_bytes, text_bytes),
            Column("Gap", lambda new: new.gap, text_gap),
        ],
        "A rotation keeps f1 and the bytes. f1 of different fleets, or under other weights, does not compare.",
    )


def blocks_table(run: Run) -> Table:
    """What each block met: clients, and what the last probe found; empty where there was one assignment, no probe."""
    assignments, probe = run.allocation.assignments, run.allocation.probe
    shown = len(assignments) > 1 or probe is not None
    held = [assignment.active.matrix for assignment in assignments]
    columns: list[Column[int]] = [
        Column("Block", lambda block: block, str),
        Column("Active on", lambda block: int(held[-1][:, block].sum()) if held else 0, str),
        Column("Held so far by", lambda block: int(np.any(held, axis=0)[:, block].sum()) if held else 0, str),
    ]
    note = "Clients that hold a block now, and that held it in some assignment."
    if probe is not None:
        columns += [
            Column[int]("g²", lambda block: probe.energy[block], text_value),
            Column[int](
                "ζ² between clients",
                lambda block: f"{probe.dissimilarity[block]:.3g} ± {probe.dissimilarity_error[block]:.2g}",
                str,
            ),
            Column[int]("σ² of a batch", lambda block: probe.noise[block], text_value),
            Column[int]("ω", lambda block: probe.weights[block], "{:.3g}".format),
        ]
        note += (
            f" Estimates of the probe before round {probe.round}: {probe.pairs} forward pairs per client, block and "
            f"batch ({probe.forward_pairs:,} in all), {text_bytes(probe.bytes_up)} up, {text_bytes(probe.bytes_down)} "
            "down; ± is one standard error."
        )
    return Table("Blocks", range(run.allocation.blocks) if shown else (), columns, note)


def profile_table(profile: Profile | None) -> Table:
    """The parts of a profiled run that took time; empty for a run that was not profiled."""
    if profile is None:
        return Table("Profile", (), ())
    where = "in one process" if profile.workers is None else f"on {profile.workers} workers, whose mean is shown"
    return Table(
        "Profile",
        [part for part in profile.parts.values() if part.seconds or part.cpu_s],
        [
            Column("Part", lambda part: part.what),
            Column("Total", lambda part: part.seconds, text_seconds),
            Column("Per round", lambda part: part.seconds_per_round, text_seconds),
            Column("Share", lambda part: part.share, text_percent),
            Column("CPU", lambda part: part.cpu_s, text_seconds),
        ],
        f"Rounds {profile.rounds.first}–{profile.rounds.last} {where}: {text_seconds(profile.wall_s)}, with "
        f"evaluation; {text_seconds(profile.start_s)} before them, {text_seconds(profile.check_s)} of it to check "
        f"forward pairs. CPU: {text_seconds(profile.cpu_s)}, all processes.",
    )


def faults_table(run: Run, limit: int = 50) -> Table:
    """Reports that did not count, and recovered rounds."""
    rows: list[tuple[int, int | None, str]] = []
    for record in run.rounds:
        rows += [(record.round, client, f"refused: {reason}") for client, reason in record.rejected.items()]
        rows += [(record.round, client, reason) for client, reason in record.failures.items()]
        if (record.clients_failed or record.clients_late) and not record.failures:
            rows.append((record.round, None, f"{record.clients_failed or 0} failed, {record.clients_late or 0} late"))
        if record.recovered:
            rows.append((record.round, None, "metrics recovered after a kill"))
    note = f"The first {limit} of {len(rows)}." if len(rows) > limit else ""
    return Table.of_rows("Faults", {"Round": str, "Client": str, "What happened": None}, rows[:limit], note)


def _placement(row: Budget) -> str | None:
    if row.frozen is None:
        return None
    packed = "" if row.format == "compute" else f" in {row.format}"
    return f"frozen {row.frozen}{packed}, master {row.master}"


def budgets_table(budgets: Sequence[Budget]) -> Table:
    """Peak against budget, class by class."""
    return Table(
        "VRAM peak against budget",
        budgets,
        [
            Column("Class", lambda row: f"{row.clients:,} × {row.kind}"),
            Column("Client", lambda row: row.client, str, keep=-1),
            Column("Blocks live", _placement, keep=-3),
            Column("Peak", lambda row: row.peak_bytes, text_bytes),
            Column("Source", lambda row: row.source),
            Column("Budget", lambda row: row.budget_bytes, text_bytes),
            Column("Share", lambda row: row.share, text_percent),
            Column(
                "Largest part",
                lambda row: f"{row.largest_part}: {text_bytes(row.largest_part_bytes)}" if row.largest_part else None,
                keep=-2,
            ),
        ],
        "The fullest client of each class. Measured: the peak on a GPU. Other tables have the allocation's bytes.",
    )


def _f1(f1: float | None) -> str:
    """∞ where a block is on no client."""
    return "∞" if f1 is None else f"{f1:.6g}"


def _ranges(blocks: Sequence[int]) -> str:
    """(0, 1, 2, 5) -> '4: 0–2, 5'; () -> '0'."""
    spans: list[list[int]] = []
    for block in sorted(blocks):
        if spans and block == spans[-1][1] + 1:
            spans[-1][1] = block
        else:
            spans.append([block, block])
    return f"{len(blocks)}: {', '.join(str(a) if a == b else f'{a}–{b}' for a, b in spans)}" if blocks else "0"
