"""The table of `zorba-ray profile`."""

from rich.table import Table

from zorba_ray.config import DEFAULT_METHOD
from zorba_ray.memory.table import ACCELERATOR, FLOPS, LINK, MEMORY, ModelProfile, Row
from zorba_ray.units import format_bytes


def profile_table(found: ModelProfile, rows: list[Row]) -> Table:
    """One line per client; parts of zero bytes everywhere are left out."""
    work = found.work
    table = Table(
        title=f"{found.model.path}: {found.manifest.numel:,} parameters in {found.manifest.blocks} blocks and stem; "
        f"batch {work.batch_size} × {work.length}, {found.compute}",
        title_justify="left",
    )
    parts = [part for part in rows[0].footprint.parts if any(row.footprint.parts[part] for row in rows)]
    counts = rows[0].counted is not None
    table.add_column("method", no_wrap=True)
    table.add_column("active")
    for name in ("bytes", *(("counted", "formula off") if counts else ()), *parts, "round"):
        table.add_column(name, justify="right")
    for row in rows:
        client, shown = row.client, row.footprint
        cells = [client.label, "–" if client.fraction is None else str(client.fraction), format_bytes(shown.total)]
        if counts:
            assert row.counted is not None
            cells += [format_bytes(row.counted.total), "–" if row.error is None else f"{row.error:+.2%}"]
        cells += [format_bytes(shown.parts[part]) if shown.parts[part] else "–" for part in parts]
        table.add_row(*cells, f"{1000 * row.seconds:.0f} ms")
    return table


def assumptions(found: ModelProfile) -> list[str]:
    """What the numbers rest on."""
    head = "next-token loss" if found.model.head == "lm" else f"{found.work.logits} labels"
    return [
        f"Rows named by where blocks live are {DEFAULT_METHOD}'s, modelled by a formula; the others are counted. Parts "
        "are those at the peak; the CUDA context (some hundred MiB) and the allocator's rounding are beside them.",
        f"Head: {head}. Active blocks are spread evenly; scope {found.scope}. No row uses activation checkpointing.",
        f"Round: modelled, one step, P = K = 1, {ACCELERATOR} with {FLOPS / 1e12:.0f} TFLOP/s, "
        f"{LINK / 1e9:.0f} GB/s to the host, {MEMORY / 1e12:.1f} TB/s of its own; copies overlap "
        "with compute.",
    ]
