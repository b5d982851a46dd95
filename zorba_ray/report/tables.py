"""Rows of a run's page, as text: headline tiles, clients, solver steps, time, faults, costs."""

from collections import Counter
from collections.abc import Sequence

from zorba_ray.artifacts import Eval, Run
from zorba_ray.artifacts.allocation import AssignedClient
from zorba_ray.report.numbers import (
    NONE,
    text_bytes,
    text_gap,
    text_loss,
    text_percent,
    text_seconds,
    text_value,
)
from zorba_ray.report.page import Table, Tile

_PARTS = {
    "clients_s": "clients: forward pairs, transport",
    "aggregate_s": "driver: aggregate reports",
    "commit_s": "driver: append to the ledger",
    "apply_s": "driver and workers: apply the update",
}


def memory_label(run: Run) -> str:
    """Where the run's VRAM figures come from, as in 'modelled, simulated accelerator'."""
    device = run.allocation.accelerator
    return f"{run.allocation.bytes_source}, {'simulated accelerator' if device == 'simulated' else device}"


def sentence(run: Run) -> str:
    """What was run, in one sentence."""
    config, clients = run.config, run.allocation.clients
    kinds = Counter(client.kind for client in clients)
    fleet = ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
    where = "on Ray actors" if config.federation.backend == "ray" else "in one process"
    return (
        f"{config.method} fine-tuned the model {config.model.path} on the data {config.data.path} with forward passes "
        f"only: {run.rounds_done} of {config.rounds} rounds, {len(clients)} clients ({fleet}), "
        f"{run.allocation.blocks} blocks, {where}, accelerator: {run.allocation.accelerator}.{_cut(run)}"
    )


def _cut(run: Run) -> str:
    """How many texts were too long, and what was left of them; empty where none was."""
    found = [
        f"{cut.rows:,} of {cut.total:,} {split} rows, {cut.tokens_before:,} → {cut.tokens_after:,} tokens"
        for split, cut in (run.summary.cut_rows if run.summary else {}).items()
        if cut.rows
    ]
    if not found:
        return ""
    return f" Cut to data.max_length={run.config.data.max_length}: {'; '.join(found)}."


def state(run: Run) -> str:
    """A warning for the top of the page; empty for a finished run."""
    if run.status == "finished":
        return ""
    error = f" ({run.summary.error})" if run.summary and run.summary.error else ""
    if run.status == "unfinished":
        return f"This run is unfinished: {run.rounds_done} of {run.config.rounds} rounds are on record, no summary yet."
    status = run.status.replace("_", " ")
    return f"This run ended early: {status}, after {run.rounds_done} of {run.config.rounds} rounds{error}."


def warnings(run: Run) -> list[str]:
    """What stands at the top of the page: how the run ended, if early, and what its figures are to be doubted for."""
    ended = [text for text in [state(run)] if text]
    return [*ended, *(f"Warning: {text}." for text in (run.summary.warnings if run.summary else ()))]


def tiles(run: Run) -> list[Tile]:
    """The headline."""
    summary, validation, test = run.summary, run.split("validation"), run.split("test")
    fullest = max((c for c in run.allocation.clients if c.share is not None), key=lambda c: c.share or 0, default=None)
    if fullest is not None:
        share = text_percent(fullest.share)
        vram = f"client {fullest.client}: {text_bytes(fullest.bytes)} of {text_bytes(fullest.budget_bytes)}"
        vram = f"{met_text(run)}; {vram}"
    else:
        share = "no budgets"
        vram = f"largest: {text_bytes(max((c.bytes for c in run.allocation.clients), default=None))}"
    up, down, session = NONE, NONE, ""
    if summary is not None:
        up, down = text_bytes(summary.bytes_up_per_client_round), text_bytes(summary.bytes_down_per_client_round)
        session = f"CPU time {text_seconds(summary.cpu_s)}"
        if summary.resumed_after_round:
            session += f"; last session only, resumed after round {summary.resumed_after_round}"
    found = [
        Tile("Validation loss", change(validation, "loss"), _span(validation)),
        Tile("Test accuracy", change(test, "accuracy"), _span(test)),
        Tile("Sent up per client and round", up, "scalars and their frame"),
        Tile("Sent down per client and round", down, _sets(run)),
        Tile("Largest share of a VRAM budget", share, f"{vram} – {memory_label(run)}"),
        Tile("Wall time", text_seconds(summary.wall_s) if summary else NONE, session),
    ]
    if all(record.accuracy is None for record in run.evals) and test:
        found[1] = Tile("Test loss", change(test, "loss"), _span(test))
    return found


def budget_verdict(client: AssignedClient) -> str:
    """Whether a client's active set fits its budget, and by how many bytes."""
    spare = client.spare_bytes
    if spare is None:
        return "no budget"
    return f"met, {text_bytes(spare)} spare" if spare >= 0 else f"over by {text_bytes(-spare)}"


def met_text(run: Run) -> str:
    """As in '8 of 8 budgets met'."""
    spare = [client.spare_bytes for client in run.allocation.clients if client.spare_bytes is not None]
    return f"{sum(value >= 0 for value in spare)} of {len(spare)} budgets met" if spare else "no budgets"


def last_client_losses(run: Run, reports: int = 10) -> dict[int, float]:
    """Client -> mean training loss of its last reports; empty where the run did not record them."""
    found: dict[int, list[float]] = {}
    for record in reversed(run.rounds):
        for client, loss in record.client_loss.items():
            if len(found.setdefault(client, [])) < reports:
                found[client].append(loss)
    return {client: sum(losses) / len(losses) for client, losses in found.items()}


def clients_table(run: Run) -> Table:
    """Who holds what, and who met which budget."""
    losses = last_client_losses(run)
    rows = [
        [
            str(client.client),
            client.kind,
            f"{client.examples:,}",
            f"{len(client.blocks)}: {_ranges(client.blocks)}" if client.blocks else "0",
            text_bytes(client.bytes),
            text_bytes(client.budget_bytes) if client.budget_bytes is not None else "none",
            text_percent(client.share),
            budget_verdict(client),
            *([text_loss(losses.get(client.client))] if losses else []),
        ]
        for client in run.allocation.clients
    ]
    columns = ["Client", "Class", "Examples", "Active blocks", "VRAM", "Budget", "Share", "Met"]
    note = f"{met_text(run).capitalize()}. VRAM figures are {memory_label(run)}."
    if losses:
        columns.append("Training loss")
        note += " Training loss: mean over a client's last ten reports."
    return Table("Clients", columns, rows, frozenset({0, 2, 4, 5, 6, 8}), note)


def steps_table(run: Run) -> Table:
    """What the solver proved."""
    a = run.allocation
    rows = []
    for step in a.steps:
        unit = text_bytes if step.objective == "vram" and (step.value or 0) > 1 else text_value
        value, bound = unit(step.value), unit(step.bound) if _finite(step.bound) else text_value(step.bound)
        cells = [step.name.replace("_", " "), step.objective, step.constraint, value, bound]
        rows.append([*cells, text_gap(step.gap), text_seconds(step.seconds), step.status])
    columns = ["Step", "Objective", "Constraint", "Value", "Bound", "Gap", "Time", "Status"]
    f1 = "∞" if a.f1 is None else f"{a.f1:.6g}"
    worst = f", fullest client {text_percent(a.worst_share)} of its budget" if _has_budgets(run) else ""
    note = (
        f"ε = {a.epsilon:g}; f1 = {f1} (1: every client activates every block); f2 = {text_bytes(a.f2_bytes)} "
        f"over the fleet{worst}; VRAM figures are {memory_label(run)}; proven gap {text_gap(a.gap)}, "
        "of memory without what the bases take; "
        f"solver: {a.solver}."
    )
    return Table("Allocation", columns, rows, frozenset({3, 4, 5, 6}), note)


def time_by_part(run: Run) -> dict[str, float]:
    """Part -> seconds over all timed rounds; empty where no round was timed."""
    timed = [record.time for record in run.rounds if record.time.get("round_s")]
    if not timed:
        return {}
    parts = {label: sum(entry.get(key, 0.0) for entry in timed) for key, label in _PARTS.items()}
    parts["driver: other"] = max(0.0, sum(entry["round_s"] for entry in timed) - sum(parts.values()))
    return parts


def time_table(run: Run) -> Table:
    """Where the rounds' time went."""
    whole = [record.time["round_s"] for record in run.rounds if record.time.get("round_s")]
    total, count = sum(whole), len(whole)
    rows = [
        [label, text_seconds(seconds), text_seconds(seconds / count), text_percent(seconds / total)]
        for label, seconds in time_by_part(run).items()
    ]
    if rows:
        rows.append(["all of the round", text_seconds(total), text_seconds(total / count), text_percent(1.0)])
    evaluation = sum(record.eval_s for record in run.evals)
    note = f"{count} timed rounds; evaluation took {text_seconds(evaluation)} beside them."
    return Table("Time of a round by part", ["Part", "Total", "Per round", "Share"], rows, frozenset({1, 2, 3}), note)


def faults_table(run: Run, limit: int = 50) -> Table | None:
    """Reports that did not count, and recovered rounds; None if there are none."""
    rows = []
    for record in run.rounds:
        faults = {client: f"refused: {reason}" for client, reason in record.rejected.items()} | record.failures
        rows += [[str(record.round), str(client), reason] for client, reason in faults.items()]
        missing = (record.clients_failed or 0) + (record.clients_late or 0)
        if missing and not record.failures:
            counts = f"{record.clients_failed} failed, {record.clients_late} late"
            rows.append([str(record.round), NONE, counts])
        if record.recovered:
            rows.append([str(record.round), NONE, "metrics recovered after a kill"])
    if not rows:
        return None
    note = f"The first {limit} of {len(rows)}." if len(rows) > limit else ""
    return Table("Faults", ["Round", "Client", "What happened"], rows[:limit], frozenset({0, 1}), note)


def budgets_table(run: Run) -> Table | None:
    """Peak against budget, class by class; None without a summary."""
    if run.summary is None:
        return None
    rows = [
        [
            f"{row.clients:,} × {row.kind}",
            str(row.client),
            f"frozen {row.frozen}, master {row.master}" if row.frozen else NONE,
            text_bytes(row.peak_bytes),
            row.source,
            text_bytes(row.budget_bytes) if row.budget_bytes is not None else "none",
            text_percent(row.share),
            f"{row.largest_part}: {text_bytes(row.largest_part_bytes)}" if row.largest_part else NONE,
        ]
        for row in run.summary.budgets
    ]
    columns = ["Class", "Client", "Blocks live", "Peak", "Source", "Budget", "Share", "Largest part"]
    note = "The fullest client of each class. The largest part is of the memory model."
    return Table("VRAM peak against budget", columns, rows, frozenset({1, 3, 5, 6}), note)


def costs_table(run: Run) -> Table | None:
    """Sizes beside the headline; None without a summary."""
    summary = run.summary
    if summary is None:
        return None
    distance = next((r.distance for r in reversed(run.rounds) if r.distance is not None), None)
    passes = summary.forward_passes_per_client
    rows = [
        ["Ledger on disk (all it takes to replay θ)", text_bytes(summary.ledger_bytes)],
        ["Active sets, sent when they change, all clients", text_bytes(summary.active_set_bytes)],
        ["Forward passes per client", NONE if passes is None else f"{passes:,}"],
        ["Distance ‖θ − θ₀‖", text_value(distance)],
        ["Largest resident memory of a process (measured, host)", text_bytes(summary.peak_rss_bytes)],
        ["Clients asked again", f"{summary.retries:,}"],
    ]
    return Table("Costs", ["What", "Value"], rows, frozenset({1}))


def change(records: Sequence[Eval], name: str) -> str:
    """'first → last' of `loss` or `accuracy`."""
    text = text_loss if name == "loss" else text_percent
    values = [value for record in records if (value := getattr(record, name)) is not None]
    if not values:
        return NONE
    return f"{text(values[0])} → {text(values[-1])}" if len(values) > 1 else f"{text(values[0])} → {NONE}"


def _span(records: Sequence[Eval]) -> str:
    if not records:
        return "not evaluated"
    first = "zero-shot" if records[0].round == 0 else f"round {records[0].round}"
    return f"{first} → round {records[-1].round}" if len(records) > 1 else f"{first} only"


def _sets(run: Run) -> str:
    total = run.summary.active_set_bytes if run.summary else None
    return (
        "plan and commit"
        if total is None
        else f"plan and commit; active sets when they change, {text_bytes(total)} in all"
    )


def _ranges(blocks: Sequence[int]) -> str:
    """(0, 1, 2, 5) -> '0–2, 5'."""
    spans: list[list[int]] = []
    for block in sorted(blocks):
        if spans and block == spans[-1][1] + 1:
            spans[-1][1] = block
        else:
            spans.append([block, block])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in spans)


def _has_budgets(run: Run) -> bool:
    return any(client.budget_bytes is not None for client in run.allocation.clients)


def _finite(value: float | None) -> bool:
    return value is not None and abs(value) < float("inf")
