"""`zorba-ray replay`: θ from the base weights and the ledger alone."""

from pathlib import Path

import typer

from zorba_ray.cli.terminal import say


def replay(
    run_dir: Path = typer.Argument(help="A run directory."),
    round: int = typer.Option(None, "--round", min=0, help="Stop after this round (default: the last)."),
    export: Path = typer.Option(None, "--export", help="Write the model there as a save_pretrained folder."),
    model: str = typer.Option(None, "--model", help="Where the base model is now (default: model.path of the run)."),
) -> None:
    """Rebuild θ from the ledger, print its SHA-256, and export it if asked.

    A ledger that ends before the rounds that summary.json counts is an error, but with --round.
    """
    from zorba_ray.experiment.replay import replay_run
    from zorba_ray.units import format_bytes, format_seconds

    found = replay_run(run_dir, round, export, model)
    say(
        f"round {found.round} of {found.last_round}, ledger {format_bytes(found.ledger_bytes)}, "
        f"{format_seconds(found.seconds)}"
    )
    if found.torn_bytes:
        say(f"{found.torn_bytes} bytes of a torn record follow; --resume cuts them")
    if found.remark:
        say(found.remark)
    say(f"θ SHA-256 {found.digest}" + (" (as the run's summary says)" if found.confirmed else ""))
    if export is not None:
        say(f"exported to {export}")
