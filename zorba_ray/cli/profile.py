"""`zorba-ray profile`: what a client holds, by method, policy and share of active blocks."""

import typer


def profile(
    config: str = typer.Argument(
        help="A named shape (opt-125m, opt-1.3b, opt-6.7b, llama-3-8b, qwen2.5-7b), a hub id, a model's folder, a YAML "
        "file, or a preset: demo."
    ),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. memory.compute_dtype=fp32."),
    batch: int = typer.Option(None, "--batch", help="Rows of one sign; default: memory.batch_size, data.batch_size."),
    length: int = typer.Option(None, "--length", help="Tokens of a row; default: memory.length, data.max_length."),
    count: bool = typer.Option(False, "--count", help="Count rows that have a formula too; seconds each."),
    json_out: bool = typer.Option(False, "--json", help="Print JSON, with the bytes of every part."),
) -> None:
    """Bytes that a client's accelerator holds, from the model's configuration alone: nothing is loaded or run."""
    import json

    from zorba_ray.cli.profile_table import assumptions, profile_table
    from zorba_ray.cli.terminal import Console, say
    from zorba_ray.experiment.profiled import profiled

    found = profiled(config, overrides, batch, length)
    rows = list(found.rows(count))
    if json_out:
        record = {"model": found.model.path, **found.facts(), "rows": [row.to_dict() for row in rows]}
        say(json.dumps(record, indent=1))
        return
    console = Console()
    console.print(profile_table(found, rows))
    for line in assumptions(found):
        console.print(line, highlight=False)
