"""`zorba-ray profile`: what a client holds, by method, policy and share of active blocks."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from zorba_ray.memory.table import ModelProfile, Row
    from zorba_ray.tables import Table


def profile(
    config: str = typer.Argument(
        help="A named shape (opt-125m, opt-1.3b, opt-6.7b, llama-3-8b, qwen2.5-7b), a hub id, a model's folder, a YAML "
        "file, or a preset: demo."
    ),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. memory.compute_dtype=fp32."),
    batch: int = typer.Option(None, "--batch", help="Rows of one sign; default: data.batch_size."),
    length: int = typer.Option(None, "--length", help="Tokens of a row; default: data.max_length."),
    count: bool = typer.Option(False, "--count", help="Count rows that have a formula too; seconds each."),
    json_out: bool = typer.Option(False, "--json", help="Print JSON, with the bytes of every part."),
) -> None:
    """Bytes that a client's accelerator holds, from the model's configuration alone: nothing is loaded or run."""
    import json

    from zorba_ray.cli.profile_source import profiled
    from zorba_ray.cli.terminal import Console, say

    found = profiled(config, overrides, batch, length)
    rows = list(found.rows(count))
    if json_out:
        record = {"model": found.model.path, **found.facts(), "rows": [row.to_dict() for row in rows]}
        say(json.dumps(record, indent=1))
        return
    console = Console()
    console.print(profile_table(found, rows).terminal(console.width))
    for line in assumptions(found):
        console.print(line)


def profile_table(found: "ModelProfile", rows: "list[Row]") -> "Table[Row]":
    """One line per client; parts of zero bytes everywhere are left out."""
    from zorba_ray.tables import Column, Table
    from zorba_ray.units import format_bytes

    def label(row: "Row") -> str:
        return row.client.label

    def active(row: "Row") -> str | None:
        return None if row.client.fraction is None else str(row.client.fraction)

    counted: list[Column[Row]] = [
        Column("counted", lambda row: row.counted.total if row.counted else None, format_bytes),
        Column("formula off", lambda row: row.error, "{:+.2%}".format),
    ]
    parts = [part for part in rows[0].footprint.parts if any(row.footprint.parts[part] for row in rows)]
    work = found.work
    return Table(
        f"{found.model.path}: {found.manifest.numel:,} parameters in {found.manifest.blocks} blocks and stem; "
        f"batch {work.batch_size} × {work.length}, {found.compute}",
        rows,
        [
            Column("method", label),
            Column("active", active),
            Column("bytes", lambda row: row.footprint.total, format_bytes),
            *(counted if rows[0].counted else ()),
            *(Column(part, lambda row, part=part: row.footprint.parts[part] or None, format_bytes) for part in parts),
            Column("round", lambda row: 1000 * row.seconds, "{:.0f} ms".format),
        ],
    )


def assumptions(found: "ModelProfile") -> list[str]:
    """What the numbers rest on."""
    from zorba_ray.config import DEFAULT_METHOD
    from zorba_ray.memory.table import ACCELERATOR, FLOPS, LINK, MEMORY

    head = "next-token loss" if found.model.head == "lm" else f"{found.work.logits} labels"
    return [
        f"Rows named by where blocks live are {DEFAULT_METHOD}'s, modelled by a formula; the others are counted. Parts "
        "are those at the peak; the CUDA context (some hundred MiB) and the allocator's rounding are beside them.",
        f"Head: {head}. Active blocks are spread evenly; scope {found.scope}. No row uses activation checkpointing.",
        f"Round: modelled, one step, P = K = 1, {ACCELERATOR} with {FLOPS / 1e12:.0f} TFLOP/s, "
        f"{LINK / 1e9:.0f} GB/s to the host, {MEMORY / 1e12:.1f} TB/s of its own; copies overlap "
        "with compute.",
    ]
