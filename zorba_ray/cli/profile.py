"""`zorba-ray profile`: what a client holds, by method, policy and share of active blocks."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.memory.table import ModelProfile, Row
    from zorba_ray.tables import Table

LABELS = 2
"""Label words where the settings name none."""


def profile(
    config: str = typer.Argument(
        help="A named shape (as qwen2.5-0.5b), a hub id, a model's folder, a YAML file, or a preset (demo)."
    ),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. memory.compute_dtype=fp32."),
    batch: int = typer.Option(None, "--batch", help="Examples of a forward pass; default: data.batch_size."),
    length: int = typer.Option(None, "--length", help="Tokens of an example; default: data.max_length."),
    parts: bool = typer.Option(False, "--parts", help="Also what the bytes are made of."),
    json_out: bool = typer.Option(False, "--json", help="Print JSON, with the bytes of every part."),
) -> None:
    """Show the bytes that a client's accelerator would hold. No weights are loaded."""
    import json

    from zorba_ray.cli.terminal import Console, say

    found = profiled(config, overrides, batch, length)
    rows = list(found.rows())
    if json_out:
        record = {"model": found.model.path, **found.facts(), "rows": [row.to_dict() for row in rows]}
        say(json.dumps(record, indent=1))
        return
    console = Console()
    console.print(_table(found, rows, parts).terminal(console.width))
    for line in _assumptions(found):
        console.print(line)


def profiled(source: str, overrides: list[str] | None, batch: int | None, length: int | None) -> "ModelProfile":
    """The profile of a preset's or file's model, or of a model that is named itself.

    Raises:
        ConfigError, ModelError: nothing of that name, a refused setting, a batch or length below 1, or a length that
            exceeds the model's positions.
    """
    from zorba_ray.errors import ConfigError
    from zorba_ray.memory.table import model_profile

    config = _settings(source, overrides or [])
    rows = batch if batch is not None else config.data.batch_size
    tokens = length if length is not None else config.data.max_length
    for option, value, least in (("--batch", rows, 1), ("--length", tokens, 2)):
        if value < least:
            raise ConfigError(f"{option}={value}: at least {least}")
    if config.zo.rank:
        raise ConfigError("zo.rank: profile knows dense directions only; set zo.rank=null")
    found = model_profile(
        config.model, config.memory.compute_dtype, config.zo.fixed_scope, rows, tokens,
        (len(config.data.label_words) or LABELS) if config.row_kind == "classification" else None,
    )  # fmt: skip
    if found.positions is not None and tokens > found.positions:
        raise ConfigError(f"--length={tokens} exceeds the {found.positions} positions of {config.model.path}")
    return found


def _settings(source: str, overrides: list[str]) -> "ExperimentConfig":
    from zorba_ray.config import load_config, presets
    from zorba_ray.config.suggestions import meant
    from zorba_ray.errors import ConfigError
    from zorba_ray.models.shapes import SHAPES

    if source in presets() or Path(source).is_file() or source.endswith((".yaml", ".yml")):
        return load_config(source, overrides)
    hub = source.count("/") == 1 and not source.startswith((".", "/", "~"))
    if source not in SHAPES and not hub and not Path(source).expanduser().is_dir() and ":" not in source:
        raise ConfigError(
            f"profile {source!r}: neither a named shape ({', '.join(SHAPES)}), a preset ({', '.join(presets())}), a "
            f"YAML file, a model's folder nor a hub id (owner/name){meant(source, [*SHAPES, *presets()])}"
        )
    from zorba_ray.config import config_from_tree
    from zorba_ray.config.base import apply_override, parse_override

    tree = {"model": {"path": source}}
    for text in overrides:
        apply_override(tree, *parse_override(text))
    return config_from_tree(tree, source)


def _table(found: "ModelProfile", rows: "list[Row]", parts: bool) -> "Table[Row]":
    """One row per client; `parts`: with a column of all parts that it holds."""
    from zorba_ray.tables import Column, Table
    from zorba_ray.units import format_bytes

    def active(row: "Row") -> str | None:
        return None if row.client.fraction is None else str(row.client.fraction)

    def parts_of(row: "Row") -> str:
        return ", ".join(f"{part} {format_bytes(size)}" for part, size in row.footprint.parts.items() if size)

    work = found.work
    return Table(
        f"{found.model.path}: {found.manifest.numel:,} parameters in {found.manifest.blocks} blocks and stem; "
        f"batch {work.batch_size} × {work.length}, {found.compute}",
        rows,
        [
            Column("method", lambda row: row.client.label),
            Column("active", active),
            Column("bytes", lambda row: row.footprint.total, format_bytes),
            Column("round", lambda row: 1000 * row.seconds, "{:.0f} ms".format),
            *([Column("parts", parts_of)] if parts else []),
        ],
    )


def _assumptions(found: "ModelProfile") -> list[str]:
    """What the numbers rest on."""
    from zorba_ray.config import DEFAULT_METHOD
    from zorba_ray.memory.table import ACCELERATOR, FLOPS, LINK, MEMORY

    head = "next-token loss" if found.work.positions > 1 else f"{found.work.logits} labels"
    return [
        f"Rows named by where blocks live are {DEFAULT_METHOD}'s, modelled by a formula; the others are counted. Parts "
        "are those at the peak; the CUDA context (some hundred MiB) and the allocator's rounding are beside them.",
        f"Head: {head}. Active blocks are spread evenly; scope {found.scope}. No row uses activation checkpointing.",
        f"Round: modelled, one step, P = K = 1, {ACCELERATOR} with {FLOPS / 1e12:.0f} TFLOP/s, "
        f"{LINK / 1e9:.0f} GB/s to the host, {MEMORY / 1e12:.1f} TB/s of its own; copies overlap "
        "with compute.",
    ]
