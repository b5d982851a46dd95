"""`zorba-ray profile`: the memory of a client, by method, placement and share of active blocks."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from zorba_ray.config import ExperimentConfig
    from zorba_ray.memory.table import MemoryRow, ModelProfile
    from zorba_ray.tables import Table

LABELS = 2
"""Number of label words if the settings have none."""


def profile(
    config: str = typer.Argument(
        help="A named shape (qwen2.5-0.5b), a hub id, a model's folder, a YAML file, or a preset (demo)."
    ),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. memory.compute_dtype=fp32."),
    batch: int = typer.Option(None, "--batch", help="Examples of a forward pass (default: data.batch_size)."),
    length: int = typer.Option(None, "--length", help="Tokens of an example (default: data.max_length)."),
    parts: bool = typer.Option(False, "--parts", help="Also the bytes of every part."),
    csv_out: bool = typer.Option(False, "--csv", help="Print CSV, with a column for every part."),
    json_out: bool = typer.Option(False, "--json", help="Print JSON, with the bytes of every part."),
) -> None:
    """Show the bytes that a client's accelerator would hold. No weights are loaded."""
    import json

    from zorba_ray.cli.terminal import Console, say
    from zorba_ray.errors import ConfigError

    if csv_out and json_out:
        raise ConfigError("--csv with --json: these are two forms of the same table; choose one")
    model_profile = profiled(config, overrides, batch, length)
    rows = list(model_profile.rows())
    if json_out:
        record = {"model": model_profile.model.path, **model_profile.facts(), "rows": [row.to_dict() for row in rows]}
        say(json.dumps(record, indent=1))
        return
    if csv_out:
        for line in _csv(rows):
            say(line)
        return
    console = Console()
    console.print(_table(model_profile, rows, parts).terminal(console.width))
    for line in _assumptions(model_profile):
        console.print(line)


def profiled(source: str, overrides: list[str] | None, batch: int | None, length: int | None) -> "ModelProfile":
    """The profile of the model of a preset or file, or of the model `source`.

    Raises:
        ConfigError, ModelError: an unknown name, a refused setting, a batch or length that is too small, or a length
            above the model's positions.
    """
    from zorba_ray.errors import ConfigError
    from zorba_ray.memory.table import model_profile

    config = _settings(source, overrides or [])
    rows = batch if batch is not None else config.data.batch_size
    tokens = length if length is not None else config.data.max_length
    for option, value, least in (("--batch", rows, 1), ("--length", tokens, 2)):
        if value < least:
            raise ConfigError(f"{option}={value}: must be at least {least}")
    if config.zo.rank:
        raise ConfigError(f"zo.rank={config.zo.rank}: profile knows only dense directions; set zo.rank=null")
    profile = model_profile(
        config.model, config.memory.compute_dtype, config.zo.fixed_scope, rows, tokens,
        (len(config.data.label_words) or LABELS) if config.row_kind == "classification" else None,
        config.memory.stem_format,
    )  # fmt: skip
    if profile.positions is not None and tokens > profile.positions:
        raise ConfigError(
            f"--length={tokens}: {config.model.path} has only {profile.positions} positions; choose a smaller length"
        )
    return profile


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
            f"profile {source!r} is not known; name a shape ({', '.join(SHAPES)}), a preset ({', '.join(presets())}), "
            f"a YAML file, a model's folder or a hub id (owner/name){meant(source, [*SHAPES, *presets()])}"
        )
    from zorba_ray.config import config_from_tree
    from zorba_ray.config.base import apply_override, parse_override

    tree = {"model": {"path": source}}
    for text in overrides:
        apply_override(tree, *parse_override(text))
    return config_from_tree(tree, source)


def _table(profile: "ModelProfile", rows: "list[MemoryRow]", parts: bool) -> "Table[MemoryRow]":
    """One row per client. `parts`: with the bytes of all parts, even if lines must be broken for it."""
    from zorba_ray.tables import Column, Table
    from zorba_ray.units import format_bytes

    def share(row: "MemoryRow") -> str | None:
        return None if row.client.fraction is None else str(row.client.fraction)

    def parts_of(row: "MemoryRow") -> str:
        return ", ".join(f"{part} {format_bytes(size)}" for part, size in row.footprint.parts.items() if size)

    work = profile.work
    return Table(
        f"{profile.model.path}: {profile.manifest.numel:,} parameters in {profile.manifest.blocks} blocks and stem; "
        f"batch {work.batch_size} × {work.length}, {profile.compute}",
        rows,
        [
            Column("method", _name),
            Column("active", share),
            Column("bytes", lambda row: row.footprint.total, format_bytes),
            Column("round", lambda row: 1000 * row.seconds, "{:.0f} ms".format),
            Column("parts", parts_of, keep=0 if parts else -1),
        ],
    )


def _name(row: "MemoryRow") -> str:
    return row.client.label if row.client.fraction is None else f"{row.client.method}, {row.client.label}"


def _csv(rows: "list[MemoryRow]") -> list[str]:
    """Lines of CSV: a header, and one line per client. Bytes are whole numbers, times are milliseconds."""
    import csv
    import io

    from zorba_ray.memory.footprint import PARTS

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "placement", "active", "bytes", "source", "round_ms", *PARTS])
    for row in rows:
        client, footprint = row.client, row.footprint
        writer.writerow(
            [client.method, client.label, client.fraction, footprint.total, footprint.source,
             round(1000 * row.seconds, 3), *(footprint.parts.get(part, 0) for part in PARTS)]
        )  # fmt: skip
    return text.getvalue().splitlines()


def _assumptions(profile: "ModelProfile") -> list[str]:
    """The assumptions behind the numbers."""
    from zorba_ray.config import DEFAULT_METHOD
    from zorba_ray.memory.round_time import ACCELERATOR, PACKING, SPEEDS

    head = "next-token loss" if profile.work.positions > 1 else f"{profile.work.logits} labels"
    packed = profile.stem_format != "compute"
    stem = f"; stem in {profile.stem_format}, where the method can take it" if packed else ""
    packing = ", ".join(f"{1e9 * seconds:g} ns a value for {format}" for format, seconds in PACKING.items())
    return [
        f"Rows of {DEFAULT_METHOD} are modelled by a formula; active is the share of active blocks. The others are "
        "counted. Bytes are those at the peak, without the CUDA context (some hundred MiB) and the allocator's "
        "rounding.",
        f"Head: {head}. Active blocks are spread evenly; scope {profile.scope}{stem}.",
        f"Round: modelled, one step, P = K = 1, on an {ACCELERATOR} with {SPEEDS.flops / 1e12:.0f} TFLOP/s, "
        f"{SPEEDS.link / 1e9:.0f} GB/s to the host, {SPEEDS.memory / 1e12:.1f} TB/s to its own memory. After a commit "
        f"blocks are copied anew, and packed anew by {SPEEDS.cores} cores ({packing}). Copies and packing overlap with "
        "compute.",
        "What a format costs in learning: docs/memory.md.",
    ]
