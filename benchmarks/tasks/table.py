"""A row of the table from a finished run: the test figure before and after, with all that it was measured under."""

from benchmarks.rows import Row, commit, not_run
from benchmarks.tasks.held_out import HeldOut, Span, held_out
from benchmarks.tasks.training import Training
from zorba_ray.artifacts import Run, RunDir
from zorba_ray.report.measures import chance, memory_label
from zorba_ray.tables.text import text_bytes, text_seconds, text_value

_ABSENT = "not run, or no data or model"


def training_row(task: Training, run: bool) -> Row:
    """The row of a run; one without figures where there is none that is finished.

    Args:
        run: whether to run or resume it; else it is only read.

    Raises:
        ZorbaError: as `Training.train`.
    """
    ending = task.train() if run else None
    if RunDir(task.path).finished() is not None:
        return row_of(task, Run(task.path), held_out(task.path, task.rows))
    why = ending.error if ending else None
    return not_run(f"{task.name}: {task.what}", "", task.goal, why or _ABSENT)


def row_of(task: Training, run: Run, found: HeldOut) -> Row:
    """The row of a finished run. Its least and greatest value are the ends of the 95 % interval."""
    before_after, span = getattr(found, task.figure), getattr(found, f"{task.figure}_after")
    value = before_after[1]
    low, high = span or (value, value)
    device = f"cpu, {run.config.federation.threads} thread"
    return Row(
        f"{task.name}: {task.what}, test {task.figure}", value, "", task.goal, task.met(run, found), device, commit(),
        low, value, high, details(run, found),
    )  # fmt: skip


def details(run: Run, held: HeldOut) -> dict[str, str]:
    """What stands below the row."""
    config, summary, holds = run.config, run.summary, run.allocation
    assert summary is not None
    start, end = summary.evaluations["start"], summary.evaluations["final"]
    cut = [f"; {cut.rows} {split} rows cut" for split, cut in summary.cut_rows.items() if cut.rows]
    found = {
        "model": f"{config.model.path}, prompt {config.data.prompt!r}, "
        f"words {', '.join(config.data.label_words) or 'of the rows'}",
        "federation": f"{config.method}, {config.federation.clients} clients, {config.data.partition}, batch "
        f"{config.data.batch_size} × at most {config.data.max_length} tokens, seed {config.seed}",
        "blocks": _blocks(run),
        "steps": _steps(run),
        "rows": f"validation {text_value(end.rows)}, test {held.rows:,}{''.join(cut)}",
        "test": _before_after(held),
        "beside": _beside(run, held),
        "loss, validation": f"{start.loss:.4f} → {end.loss:.4f} (round {summary.kept_round})",
        "loss, test": f"{held.loss[0]:.4f} → {held.loss[1]:.4f}"
        + (f", change row by row{_span(held.loss_change)}" if held.loss_change else ""),
        "bytes of a client and round": f"{text_bytes(summary.bytes_up_per_client_round)} up, "
        f"{text_bytes(summary.bytes_down_per_client_round)} down",
        "VRAM of a client": f"{text_bytes(max(client.bytes for client in holds.clients))} at most, all blocks active "
        f"{text_bytes(holds.bytes_all_active)} ({memory_label(run)})",
        "time": f"{text_seconds(summary.cpu_s)} of CPU"
        + (f" since round {summary.resumed_after_round}" if summary.resumed_after_round else ""),
    }
    if run.provenance.started:
        found["made"] = f"{run.provenance.started}, commit {(run.provenance.git or {}).get('commit', 'unknown')}"
    return found


def _blocks(run: Run) -> str:
    counts = [len(client.blocks) for client in run.allocation.clients]
    several = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{max(counts)}"
    rank = "" if run.config.zo.rank is None else f", rank {run.config.zo.rank}"
    return f"{several} of {run.allocation.blocks} of a client, zo.scope={run.config.zo.scope}{rank}"


def _steps(run: Run) -> str:
    config, done = run.config, run.rounds_done
    asked = f"{config.rounds} rounds" + ("" if done == config.rounds else f" asked for, {done} taken")
    passes = f"{config.passes_per_round * done:,} forward passes of a client"
    if config.spec.backward:
        rates = ", ".join(f"{key}={value}" for key, value in config.method_settings.model_dump().items())
        return f"{asked}, {rates}; {passes} and as many backward passes"
    zo = config.zo
    each = "1 direction" if zo.directions == 1 else f"{zo.directions} directions"
    return f"{asked}, {each} ({zo.difference}), zo.lr={zo.lr:g} ({zo.schedule}); {passes}"


def _before_after(held: HeldOut) -> str:
    if held.accuracy is not None:
        old, new = held.accuracy
        return f"zero-shot {old:.4g}{_span(held.accuracy_before)} → {new:.4g}{_span(held.accuracy_after)}"
    if held.token_f1 is not None:
        old, new = held.token_f1
        return f"F1 of answers, zero-shot {old:.4g} → {new:.4g}{_span(held.token_f1_after)}"
    assert held.perplexity is not None
    old, new = held.perplexity
    share = f"; after / before, row by row{_span(held.perplexity_share)}"
    return f"zero-shot {old:.4g} → {new:.4g}{_span(held.perplexity_after)}{share}"


def _span(span: Span | None) -> str:
    return "" if span is None else f" [{span[0]:.4g} … {span[1]:.4g}]"


def _beside(run: Run, held: HeldOut) -> str:
    """What no learning gives."""
    test = run.split("test")[-1]
    texts = [
        f"{name} {value:.4g}"
        for name, value in (("chance", chance(run) or held.chance), ("majority class", test.majority.get("accuracy")))
        if value
    ]
    return ", ".join(texts) or "nothing to guess"
