"""`zorba-ray predict`: what a trained model says to each row of a file."""

from pathlib import Path

import typer

from zorba_ray.cli.evaluate import MODEL, run_file
from zorba_ray.cli.terminal import say


def predict(
    source: str = typer.Argument(metavar="RUN", help=MODEL),
    overrides: list[str] = typer.Argument(None, help="With --config: settings as key=value."),
    data: Path = typer.Option(..., "--data", help="A file of rows: parquet, JSONL, JSON or CSV. It needs no labels."),
    out: Path = typer.Option(..., "--out", "-o", help="File to write, one JSON object per row; - is the terminal."),
    round: int = typer.Option(None, "--round", min=0, help="After this round (default: the one that is kept)."),
    config: str = typer.Option(None, "--config", help="Of what is no run: a YAML file or preset with task and prompt."),
    model: str = typer.Option(None, "--model", help="Where the base model is now (default: model.path of the run)."),
    force: bool = typer.Option(False, "--force", help="Replace the file that is there."),
) -> None:
    """Say what a model answers to each row of a file: text, prediction and scores, as JSON lines."""
    import json

    from zorba_ray.errors import ConfigError

    shown = str(out) == "-"
    if not shown and (out.is_dir() or not out.parent.is_dir()):
        raise ConfigError(f"-o {out}: name a file in a folder that exists, or - for the terminal")
    if not shown and out.exists() and not force:
        raise ConfigError(f"-o {out}: the file exists; name another, or replace it with --force")
    from zorba_ray.artifacts.files import replace_text
    from zorba_ray.experiment.asked import predict_rows

    found = predict_rows(source, data, round, run_file(config, overrides), model)
    for remark in found.trained.remarks:
        say(f"note: {remark}", err=True)
    if found.cut.rows:
        length = found.trained.config.data.max_length
        say(
            f"note: {found.cut.rows} of {found.cut.total} rows are longer than data.max_length={length}; the model "
            "read the part that fits",
            err=True,
        )
    # On a terminal all beyond ASCII is escaped: what is printed there cannot command it, and stays JSON.
    lines = [json.dumps(row, ensure_ascii=shown, allow_nan=False) for row in found.rows]
    if shown:
        for line in lines:
            say(line)
        return
    replace_text(out, "".join(line + "\n" for line in lines))
    say(f"wrote {out}: {len(lines):,} rows")
