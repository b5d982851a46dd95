"""`zorba-ray replay`: θ from the base weights and the ledger alone."""

from pathlib import Path

import typer

from zorba_ray.cli.terminal import say


def replay(
    run_dir: Path = typer.Argument(help="A run directory."),
    round: int = typer.Option(
        None, "--round", min=0, help="Stop after this round (default: the one that is kept, the last or the best)."
    ),
    export: Path = typer.Option(
        None,
        "--export",
        help="Write the model there as a save_pretrained folder; where only adapters moved, as a PEFT folder of these.",
    ),
    merged: bool = typer.Option(False, "--merged", help="Export adapters merged into the base model."),
    model: str = typer.Option(None, "--model", help="Where the base model is now (default: model.path of the run)."),
) -> None:
    """Rebuild a run's weights θ from its ledger; print their SHA-256; export them if asked.

    It is an error if the ledger ends before the last round in summary.json; --round replays what is there.
    """
    from zorba_ray.experiment.replay import replay_run
    from zorba_ray.units import format_bytes, format_seconds

    found = replay_run(run_dir, round, export, model, merged)
    say(
        f"round {found.round} of {found.last_round}, ledger {format_bytes(found.ledger_bytes)}, "
        f"{format_seconds(found.seconds)}"
    )
    if found.torn_bytes:
        say(f"{found.torn_bytes} bytes of a torn record follow; --resume cuts them")
    if found.remark:
        say(found.remark)
    beside = "as the run's summary says" if found.confirmed else "not compared: summary.json has none of this round"
    say(f"θ SHA-256 {found.digest} ({beside})")
    if export is not None:
        say(f"exported to {export}{', as a PEFT adapter (--merged: the whole model)' if found.adapter else ''}")
