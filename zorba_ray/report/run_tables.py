"""What a run's page says in words and tables: headline, clients, solver steps, assignments, time, faults, costs."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from zorba_ray.artifacts import Budget, Eval, Profile, Run
from zorba_ray.artifacts.allocation import AssignedClient, SolverStep
from zorba_ray.report.measures import memory_label
from zorba_ray.report.page import Tile
from zorba_ray.tables import Column, Table
from zorba_ray.tables.text import (
    NONE,
    text_bytes,
    text_figure,
    text_gap,
    text_percent,
    text_seconds,
    text_value,
)


def run_sentence(run: Run) -> str:
    """What was run, in one sentence; then how many texts were too long, if any were."""
    config, clients = run.config, run.allocation.clients
    fleet = ", ".join(f"{count} × {kind}" for kind, count in Counter(client.kind for client in clients).items())
    where = "on Ray actors" if config.federation.backend == "ray" else "in one process"
    cut = [
        f"{cut.rows:,} of {cut.total:,} {split} rows, {cut.tokens_before:,} → {cut.tokens_after:,} tokens"
        for split, cut in (run.summary.cut_rows if run.summary else {}).items()
        if cut.rows
    ]
    return (
        f"{config.method} fine-tuned the model {config.model.path} on the data {config.data.path}: "
        f"{run.rounds_done} of {config.rounds} rounds, {len(clients)} clients ({fleet}), "
        f"{run.allocation.blocks} blocks, {where}, accelerator: {run.allocation.accelerator}."
        + (f" Cut to data.max_length={config.data.max_length}: {'; '.join(cut)}." if cut else "")
    )


def run_warnings(run: Run) -> list[str]:
    """What stands at the top of the page: how the run ended, if early, and what its figures are to be doubted for."""
    doubts = [f"Warning: {text}." for text in (run.summary.warnings if run.summary else ())]
    if run.status == "finished":
        return doubts
    if run.summary is None:
        return [
            f"This run is unfinished: {run.rounds_done} of {run.config.rounds} rounds are on record, no summary yet."
        ]
    status, error = run.status.replace("_", " "), f" ({run.summary.error})" if run.summary.error else ""
    return [f"This run ended early: {status}, after {run.rounds_done} of {run.config.rounds} rounds{error}.", *doubts]


def run_tiles(run: Run) -> list[Tile]:
    """The headline."""
    summary, validation, test = run.summary, run.split("validation"), run.split("test")
    shared = [(client.share, client) for client in run.allocation.clients if client.share is not None]
    if shared:
        share, fullest = max(shared, key=lambda pair: pair[0])
        vram = f"client {fullest.client}: {text_bytes(fullest.bytes)} of {text_bytes(fullest.budget_bytes)}"
        share, vram = text_percent(share), f"{met_text(run)}; {vram}"
    else:
        share = "no budgets"
        vram = f"largest: {text_bytes(max((c.bytes for c in run.allocation.clients), default=None))}"
    session, sets = "", ""
    if summary is not None:
        session = f"CPU time {text_seconds(summary.cpu_s)}"
        if summary.resumed_after_round:
            session += f"; last session only, resumed after round {summary.resumed_after_round}"
        if summary.active_set_bytes is not None:
            sets = f"; active sets when they change, {text_bytes(summary.active_set_bytes)} in all"
    field = "loss" if test and all(record.accuracy is None for record in run.evals) else "accuracy"
    return [
        Tile("Validation loss", change(validation, "loss"), _span(validation)),
        Tile(f"Test {field}", change(test, field), _span(test)),
        Tile("Sent up per client and round", sent(run, "up"), "scalars and their frame"),
        Tile("Sent down per client and round", sent(run, "down"), f"plan and commit{sets}"),
        Tile("Largest share of a VRAM budget", share, f"{vram} – {memory_label(run)}"),
        Tile("Wall time", text_seconds(summary.wall_s) if summary else NONE, session),
    ]


def sent(run: Run, way: str) -> str:
    """Bytes per client and round, `way` being up or down."""
    return text_bytes(getattr(run.summary, f"bytes_{way}_per_client_round") if run.summary else None)


def change(records: Sequence[Eval], field: str) -> str:
    """'first → last' of `loss` or `accuracy`."""
    values = [value for record in records if (value := getattr(record, field)) is not None]
    if not values:
        return NONE
    return f"{text_figure(field, values[0])} → {text_figure(field, values[-1]) if len(values) > 1 else NONE}"


def _span(records: Sequence[Eval]) -> str:
    if not records:
        return "not evaluated"
    first = "zero-shot" if records[0].round == 0 else f"round {records[0].round}"
    return f"{first} → round {records[-1].round}" if len(records) > 1 else f"{first} only"


def met_text(run: Run) -> str:
    """As in '8 of 8 budgets met'."""
    spare = [client.spare_bytes for client in run.allocation.clients if client.spare_bytes is not None]
    return f"{sum(value >= 0 for value in spare)} of {len(spare)} budgets met" if spare else "no budgets"


def run_tables(run: Run) -> list[Table]:
    """All tables of one run; those without rows are left out."""
    tables = [clients_table(run), steps_table(run), assignments_table(run), blocks_table(run)]
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
    columns: list[Column[tuple[int, int | None, str]]] = [
        Column("Round", lambda row: row[0], str),
        Column("Client", lambda row: row[1], str),
        Column("What happened", lambda row: row[2]),
    ]
    note = f"The first {limit} of {len(rows)}." if len(rows) > limit else ""
    return Table("Faults", rows[:limit], columns, note)


def budgets_table(budgets: Sequence[Budget]) -> Table:
    """Peak against budget, class by class."""
    return Table(
        "VRAM peak against budget",
        budgets,
        [
            Column("Class", lambda row: f"{row.clients:,} × {row.kind}"),
            Column("Client", lambda row: row.client, str, keep=-1),
            Column(
                "Blocks live", lambda row: f"frozen {row.frozen}, master {row.master}" if row.frozen else None, keep=-3
            ),
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
        "The fullest client of each class. The largest part is of the memory model.",
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
