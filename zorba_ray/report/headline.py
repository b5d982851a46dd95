"""The top of a run's page: a sentence, warnings, four headline figures, and a table with further figures."""

import math
from collections.abc import Sequence

from zorba_ray.artifacts import Eval, PrivacyRecord, Run
from zorba_ray.report.measures import chance, headline_figure, interval_of, memory_label, vram_saved
from zorba_ray.report.page import Tile
from zorba_ray.report.partition_figure import partition_text, spread_text
from zorba_ray.tables import Table
from zorba_ray.tables.text import (
    NONE,
    figure_name,
    text_bytes,
    text_count,
    text_figure,
    text_percent,
    text_range,
    text_seconds,
    text_span,
)


def run_sentence(run: Run) -> str:
    """A sentence about the run; and a second one if texts were too long."""
    config, clients = run.config, run.allocation.clients
    where = "on Ray actors" if config.federation.backend == "ray" else "in one process"
    cut = [
        f"{cut.rows:,} of {cut.total:,} {split} rows, {cut.tokens_before:,} → {cut.tokens_after:,} tokens"
        for split, cut in (run.summary.cut_rows if run.summary else {}).items()
        if cut.rows
    ]
    return (
        f"{config.method} fine-tuned the model {config.model.path} on the data {config.data.path}: "
        f"{run.rounds_done} of {config.rounds} rounds, {text_count(len(clients), 'client')}, "
        f"{run.allocation.blocks} blocks, {where}, accelerator: {run.allocation.accelerator}."
        + (f" UNDER ATTACK: {config.attacked_text}." if config.adversaries else "")
        + (f" Cut to data.max_length={config.data.max_length}: {'; '.join(cut)}." if cut else "")
    )


def run_warnings(run: Run) -> list[str]:
    """The warnings at the top of the page: an early end, and reasons to doubt the figures."""
    doubts = [f"Warning: {text}." for text in (run.summary.warnings if run.summary else ())]
    if run.status == "finished":
        return doubts
    if run.summary is None:
        return [
            f"This run is not finished: {run.rounds_done} of {run.config.rounds} rounds are done; there is no summary "
            "yet."
        ]
    status, error = run.status.replace("_", " "), f" ({run.summary.error})" if run.summary.error else ""
    return [f"This run ended early: {status}, after {run.rounds_done} of {run.config.rounds} rounds{error}.", *doubts]


def run_tiles(run: Run) -> list[Tile]:
    """The headline figures: active blocks, learning, bytes, memory."""
    allocation, summary, test = run.allocation, run.summary, run.until_kept("test")
    counts = [len(client.blocks) for client in allocation.present]
    blocks, field = f"{text_range(counts)} of {allocation.blocks}", headline_figure(run)
    learning = [_span(test), *_interval_texts(test, field)]
    if field == "accuracy" and (guess := chance(run)) is not None:
        learning.append(f"chance {text_percent(guess)}")
    sets = ""
    if summary is not None and summary.active_set_bytes:
        sets = f"; active sets {text_bytes(summary.active_set_bytes)} down in all"
    saved, all_active = vram_saved(run), run.allocation.fleet_bytes_all_active
    fleet = f"{text_bytes(allocation.f2_bytes)} for all clients"
    against = f"; with all blocks active {text_bytes(all_active)}" if all_active else ""
    return [
        Tile("Active blocks of a client", blocks, f"{_by_class(run)}; {met_text(run)}"),
        Tile(f"Test {figure_name(field)}", change(test, field), "; ".join(learning)),
        Tile(
            "Bytes of a client per round",
            f"{sent(run, 'up')} up, {sent(run, 'down')} down",
            f"up: a report; down: plan and commit{sets}",
        ),
        Tile("Memory (VRAM) saved", text_percent(saved), f"{fleet}{against} ({memory_label(run)})"),
    ]


def text_privacy(privacy: PrivacyRecord) -> str:
    """As 'ε = 7.98, δ = 1e-05'. ε is rounded up."""
    return f"ε = {math.ceil(privacy.epsilon * 1000) / 1000:g}, δ = {privacy.delta:g}"


def sent(run: Run, way: str) -> str:
    """Bytes per client and round as text; `way` is up or down."""
    return text_bytes(getattr(run.summary, f"bytes_{way}_per_client_round") if run.summary else None)


def change(records: Sequence[Eval], field: str) -> str:
    """'first → last' value of a figure of evaluations."""
    values = [value for record in records if (value := getattr(record, field)) is not None]
    if not values:
        return NONE
    return f"{text_figure(field, values[0])} → {text_figure(field, values[-1]) if len(values) > 1 else NONE}"


def kept_text(run: Run) -> tuple[str, str]:
    """(the kept round of a finished run, the reason), as in ('40 of 100', 'best validation loss')."""
    settings, rounds = run.config.eval, run.config.rounds
    why = f"best validation {settings.metric} (eval.keep=best)" if settings.keep == "best" else "the last round"
    if run.rounds_done < rounds:
        spent = run.summary is not None and run.summary.privacy is not None and run.summary.privacy.spent
        why += f"; ended early after round {run.rounds_done}: "
        why += "privacy.target_epsilon is spent" if spent else f"eval.patience={settings.patience}"
    return f"{run.kept_round} of {rounds}", why


def _span(records: Sequence[Eval]) -> str:
    if not records:
        return "not evaluated"
    first = "zero-shot" if records[0].round == 0 else f"round {records[0].round}"
    return f"{first} → round {records[-1].round}" if len(records) > 1 else f"{first} only"


def interval_text(records: Sequence[Eval], field: str = "accuracy") -> str | None:
    """The interval of the last loss or accuracy after training, such as '94.5–97.8 %'; None if it is not known."""
    span = interval_of(records[-1], field) if records and records[-1].round else None
    return None if span is None else text_span(field, *span)


def _interval_texts(records: Sequence[Eval], field: str = "accuracy") -> list[str]:
    """As '95 % interval 94.5–97.8 % over 480 rows'; empty if it is not known."""
    text = interval_text(records, field)
    return [] if text is None else [f"95 % interval {text} over {records[-1].rows or records[-1].items:,} rows"]


def _by_class(run: Run) -> str:
    """As '2 × workstation: 5, 3 × laptop: 1–2'. For more than four classes only their number."""
    kinds: dict[str, list[int]] = {}
    for client in run.allocation.present:
        kinds.setdefault(client.kind, []).append(len(client.blocks))
    if len(kinds) > 4:
        return f"{len(run.allocation.present):,} clients of {len(kinds)} classes"
    texts = [f"{len(counts):,}\u00a0×\u00a0{kind}:\u00a0{text_range(counts)}" for kind, counts in kinds.items()]
    return ", ".join(texts)


def summary_table(run: Run) -> Table:
    """Further figures: validation split, fullest client, time, SHA-256."""
    summary, validation, test = run.summary, run.until_kept("validation"), run.until_kept("test")
    rows = [("Validation loss", change(validation, "loss"), _span(validation))]
    field = headline_figure(run)
    if any(getattr(record, field) is not None for record in validation) and field != "loss":
        note = "; ".join([_span(validation), *_interval_texts(validation, field)])
        rows += [
            (f"Validation {figure_name(field)}", change(validation, field), note),
            ("Test loss", change(test, "loss"), _span(test)),
        ]
    if run.kept_round is not None and (run.config.eval.keep == "best" or run.rounds_done < run.config.rounds):
        rows.append(("Kept round", *kept_text(run)))
    if summary is not None and (privacy := summary.privacy) is not None:
        note = (
            f"of a client that was asked {privacy.reports:,} times, whatever its data are; clip {privacy.clip:g}, "
            f"noise multiplier {privacy.noise_multiplier:g}. It is of scalars and θ, not of this page"
        )
        rows.append(("Differential privacy", text_privacy(privacy), note))
    if run.partition is not None:
        rows.append(("Partition of the training rows", partition_text(run), spread_text(run.partition)))
    shared = [client for client in run.allocation.clients if client.share is not None]
    if shared:
        fullest = max(shared, key=lambda client: client.share or 0.0)
        what = f"client {fullest.client}: {text_bytes(fullest.bytes)} of {text_bytes(fullest.budget_bytes)}"
        rows.append(("Largest share of a budget", text_percent(fullest.share), f"{what} ({memory_label(run)})"))
    if summary is not None:
        session = f"CPU time {text_seconds(summary.cpu_s)}"
        if summary.resumed_after_round:
            session += f"; last session only, resumed after round {summary.resumed_after_round}"
        rows.append(("Wall time", text_seconds(summary.wall_s), session))
    when = "at the end" if run.kept_round in (None, run.rounds_done) else f"after round {run.kept_round}"
    digest = f"SHA-256 of θ {when}: {summary.weights_sha256}" if summary else ""
    return Table.of_rows("Summary", {"What": None, "Value": None, "More": None}, rows, digest)


def met_text(run: Run) -> str:
    """As '8 of 8 budgets met'."""
    spare = [client.spare_bytes for client in run.allocation.clients if client.spare_bytes is not None]
    return f"{sum(value >= 0 for value in spare)} of {len(spare)} budgets met" if spare else "no budgets"
